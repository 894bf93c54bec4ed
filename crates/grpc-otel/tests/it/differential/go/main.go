// Runs script.json through grpc-go with its OpenTelemetry plugin, the reference for gRFC A66 and A72, and prints the
// metrics and spans of server and client as JSON.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	_ "google.golang.org/grpc/encoding/gzip"
	experimental "google.golang.org/grpc/experimental/opentelemetry"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/stats/opentelemetry"
	"google.golang.org/grpc/status"
)

const retryPolicy = `{"methodConfig": [{"name": [{"service": "diff.Test", "method": "Retry"},
	{"service": "diff.Test", "method": "RetryStream"}, {"service": "diff.Test", "method": "RetryExhausted"}],
	"retryPolicy": {
	"maxAttempts": 4, "initialBackoff": "0.01s", "maxBackoff": "0.01s", "backoffMultiplier": 1,
	"retryableStatusCodes": ["UNAVAILABLE"]}}]}`

type call struct {
	Scenario    string `json:"scenario"`
	Kind        string `json:"kind"`
	Requests    []int  `json:"requests"`
	Replies     []int  `json:"replies"`
	Status      uint32 `json:"status"`
	Wait        bool   `json:"wait"`
	Gzip        bool   `json:"gzip"`
	TimeoutMs   int    `json:"timeout_ms"`
	CancelAfter *int   `json:"cancel_after"`
	FailFirst   int    `json:"fail_first"`
}

// Messages are bytes of zero; both sides send them as they are.
type rawCodec struct{}

func (rawCodec) Marshal(v any) ([]byte, error)      { return *v.(*[]byte), nil }
func (rawCodec) Unmarshal(data []byte, v any) error { *v.(*[]byte) = data; return nil }
func (rawCodec) Name() string                       { return "proto" }

var (
	attempts      = map[string]int{}
	attemptsMutex sync.Mutex
)

func serve(_ any, stream grpc.ServerStream) error {
	incoming, _ := metadata.FromIncomingContext(stream.Context())
	var scripted call
	if err := json.Unmarshal([]byte(incoming.Get("x-script")[0]), &scripted); err != nil {
		return err
	}
	for {
		var request []byte
		if err := stream.RecvMsg(&request); err == io.EOF {
			break
		} else if err != nil {
			return err
		}
	}
	attemptsMutex.Lock()
	attempts[scripted.Scenario]++
	attempt := attempts[scripted.Scenario]
	attemptsMutex.Unlock()
	if attempt <= scripted.FailFirst {
		return status.Error(codes.Unavailable, "not yet")
	}
	for _, size := range scripted.Replies {
		reply := make([]byte, size)
		if err := stream.SendMsg(&reply); err != nil {
			return err
		}
	}
	if scripted.Wait {
		<-stream.Context().Done()
		return status.FromContextError(stream.Context().Err()).Err()
	}
	return status.Error(codes.Code(scripted.Status), "as scripted")
}

func run(channel *grpc.ClientConn, scripted call) error {
	script, _ := json.Marshal(scripted)
	ctx, cancel := context.WithCancel(metadata.AppendToOutgoingContext(context.Background(), "x-script", string(script)))
	defer cancel()
	if scripted.TimeoutMs > 0 {
		ctx, cancel = context.WithTimeout(ctx, time.Duration(scripted.TimeoutMs)*time.Millisecond)
		defer cancel()
	}
	options := []grpc.CallOption{grpc.StaticMethod()}
	if scripted.Gzip {
		options = append(options, grpc.UseCompressor("gzip"))
	}
	method := "/diff.Test/" + scripted.Scenario
	if scripted.CancelAfter != nil && *scripted.CancelAfter == 0 {
		// The server is to have the call before it ends.
		time.AfterFunc(100*time.Millisecond, cancel)
	}
	if scripted.Kind == "unary" {
		request, reply := make([]byte, scripted.Requests[0]), []byte{}
		return channel.Invoke(ctx, method, &request, &reply, options...)
	}
	description := grpc.StreamDesc{
		ClientStreams: scripted.Kind != "server-streaming",
		ServerStreams: scripted.Kind != "client-streaming",
	}
	stream, err := channel.NewStream(ctx, &description, method, options...)
	if err != nil {
		return err
	}
	for _, size := range scripted.Requests {
		request := make([]byte, size)
		if err := stream.SendMsg(&request); err != nil {
			return err
		}
	}
	if err := stream.CloseSend(); err != nil {
		return err
	}
	for received := 0; ; received++ {
		if scripted.CancelAfter != nil && *scripted.CancelAfter == received {
			cancel()
		}
		var reply []byte
		if err := stream.RecvMsg(&reply); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		if !description.ServerStreams {
			return nil
		}
	}
}

type series struct {
	Name       string            `json:"name"`
	Unit       string            `json:"unit"`
	Kind       string            `json:"kind"`
	Attributes map[string]string `json:"attributes"`
	Count      uint64            `json:"count"`
	Sum        float64           `json:"sum"`
	Bounds     []float64         `json:"bounds"`
}

func collect(reader metric.Reader) []series {
	var all metricdata.ResourceMetrics
	if err := reader.Collect(context.Background(), &all); err != nil {
		log.Fatal(err)
	}
	found := []series{}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			add := func(kind string, attributes attribute.Set, count uint64, sum float64, bounds []float64) {
				found = append(found, series{m.Name, m.Unit, kind, named(attributes.ToSlice()), count, sum, bounds})
			}
			switch data := m.Data.(type) {
			case metricdata.Sum[int64]:
				for _, point := range data.DataPoints {
					add("counter", point.Attributes, uint64(point.Value), 0, []float64{})
				}
			case metricdata.Histogram[int64]:
				for _, point := range data.DataPoints {
					add("histogram", point.Attributes, point.Count, float64(point.Sum), point.Bounds)
				}
			case metricdata.Histogram[float64]:
				for _, point := range data.DataPoints {
					add("histogram", point.Attributes, point.Count, point.Sum, point.Bounds)
				}
			}
		}
	}
	return found
}

type event struct {
	Name       string            `json:"name"`
	Attributes map[string]string `json:"attributes"`
}

type span struct {
	Name        string            `json:"name"`
	ID          string            `json:"id"`
	Parent      string            `json:"parent"`
	Kind        string            `json:"kind"`
	Status      string            `json:"status"`
	Description string            `json:"description"`
	Attributes  map[string]string `json:"attributes"`
	Events      []event           `json:"events"`
}

// All spans, in the order in which they began.
func spans(exporter *tracetest.InMemoryExporter) []span {
	ended := exporter.GetSpans()
	slices.SortStableFunc(ended, func(a, b tracetest.SpanStub) int { return a.StartTime.Compare(b.StartTime) })
	found := []span{}
	for _, one := range ended {
		events := []event{}
		for _, two := range one.Events {
			events = append(events, event{two.Name, named(two.Attributes)})
		}
		found = append(found, span{
			one.Name, one.SpanContext.SpanID().String(), one.Parent.SpanID().String(), one.SpanKind.String(),
			one.Status.Code.String(), one.Status.Description, named(one.Attributes), events,
		})
	}
	return found
}

func named(attributes []attribute.KeyValue) map[string]string {
	values := map[string]string{}
	for _, pair := range attributes {
		values[string(pair.Key)] = pair.Value.Emit()
	}
	return values
}

// The peers of calls and attempts by the names of their spans, as the transport reports them: the plugin has no attribute
// for them. Spans of one name are numbered.
type peers struct {
	server *net.TCPAddr
	mutex  sync.Mutex
	found  map[string]string
}

func (p *peers) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context   { return ctx }
func (p *peers) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }
func (p *peers) HandleConn(context.Context, stats.ConnStats)                       {}

func (p *peers) HandleRPC(_ context.Context, one stats.RPCStats) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	switch header := one.(type) {
	case *stats.OutHeader:
		if header.Client {
			method, peer := spanOf(header.FullMethod), p.describe(header.RemoteAddr)
			p.add("Attempt."+method, peer)
			// The peer of a call is that of its last attempt.
			p.found["Sent."+method] = peer
		}
	case *stats.InHeader:
		if !header.Client {
			method := spanOf(header.FullMethod)
			if method == "diff.Test.Unregistered" {
				method = "other"
			}
			p.add("Recv."+method, p.describe(header.RemoteAddr))
		}
	}
}

func (p *peers) add(span, peer string) {
	name := span
	for number := 2; p.found[name] != ""; number++ {
		name = fmt.Sprintf("%s %d", span, number)
	}
	p.found[name] = peer
}

// The ports of clients differ from run to run.
func (p *peers) describe(peer net.Addr) string {
	address := peer.(*net.TCPAddr)
	if address.Port == p.server.Port {
		return address.IP.String() + ", port of the server"
	}
	return address.IP.String() + ", another port"
}

func spanOf(method string) string {
	return strings.ReplaceAll(strings.TrimPrefix(method, "/"), "/", ".")
}

// How many calls the server has begun and ended, and of how many the span has ended.
func progress(reader metric.Reader, exporter *tracetest.InMemoryExporter) (started, ended, traced uint64) {
	for _, one := range collect(reader) {
		switch one.Name {
		case "grpc.server.call.started":
			// grpc-go never tells its plugin the end of a call to an unregistered method.
			if one.Attributes["grpc.method"] != "other" {
				started += one.Count
			}
		case "grpc.server.call.duration":
			ended += one.Count
		}
	}
	for _, one := range exporter.GetSpans() {
		if strings.HasPrefix(one.Name, "Recv.") {
			traced++
		}
	}
	return
}

func options(reader metric.Reader, tracers *trace.TracerProvider) opentelemetry.Options {
	meters := metric.NewMeterProvider(metric.WithReader(reader))
	return opentelemetry.Options{
		MetricsOptions: opentelemetry.MetricsOptions{MeterProvider: meters},
		TraceOptions: experimental.TraceOptions{
			TracerProvider: tracers, TextMapPropagator: propagation.TraceContext{},
		},
	}
}

func main() {
	source, err := os.ReadFile(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	var script []call
	if err := json.Unmarshal(source, &script); err != nil {
		log.Fatal(err)
	}

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	seen := &peers{server: listener.Addr().(*net.TCPAddr), found: map[string]string{}}
	serverReader, clientReader := metric.NewManualReader(), metric.NewManualReader()
	exporter := tracetest.NewInMemoryExporter()
	tracers := trace.NewTracerProvider(trace.WithSyncer(exporter))
	server := grpc.NewServer(
		opentelemetry.ServerOption(options(serverReader, tracers)), grpc.ForceServerCodec(rawCodec{}),
		grpc.StatsHandler(seen),
	)
	service := grpc.ServiceDesc{ServiceName: "diff.Test", HandlerType: (*any)(nil)}
	for _, scripted := range script {
		if scripted.Scenario != "Unregistered" {
			service.Streams = append(service.Streams, grpc.StreamDesc{
				StreamName: scripted.Scenario, Handler: serve, ClientStreams: true, ServerStreams: true,
			})
		}
	}
	server.RegisterService(&service, nil)
	go server.Serve(listener)

	channel, err := grpc.NewClient(
		// A name, so that the first call waits for its resolution.
		fmt.Sprintf("localhost:%d", listener.Addr().(*net.TCPAddr).Port),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDisableServiceConfig(), // in the DNS
		grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
			// And for its connection.
			time.Sleep(50 * time.Millisecond)
			return new(net.Dialer).DialContext(ctx, "tcp", address)
		}),
		grpc.WithDefaultCallOptions(grpc.ForceCodec(rawCodec{})),
		grpc.WithDefaultServiceConfig(retryPolicy),
		opentelemetry.DialOption(options(clientReader, tracers)), grpc.WithStatsHandler(seen),
	)
	if err != nil {
		log.Fatal(err)
	}
	for _, scripted := range script {
		if err := run(channel, scripted); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", scripted.Scenario, err)
		}
	}
	for patience := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if started, ended, traced := progress(serverReader, exporter); started == ended && started == traced {
			break
		} else if time.Now().After(patience) {
			log.Fatalf("of %d calls of the server only %d ended, and of %d the spans", started, ended, traced)
		}
	}
	seen.mutex.Lock()
	defer seen.mutex.Unlock()
	result, _ := json.Marshal(map[string]any{
		"server": collect(serverReader), "client": collect(clientReader), "spans": spans(exporter),
		"peers": seen.found,
	})
	fmt.Println(string(result))
}
