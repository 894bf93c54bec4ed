// The grpc-go peer of make bench: the four calls on a sharded store, with TLS and Kelvin's HTTP/2 windows. With -otel the
// official OpenTelemetry plugin records metrics and traces and exports them as the OTEL_ variables say.
package main

import (
	"context"
	"flag"
	"io"
	"log"
	"math"
	"net"
	"os"
	"path/filepath"

	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetricgrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	experimental "google.golang.org/grpc/experimental/opentelemetry"
	"google.golang.org/grpc/stats/opentelemetry"

	"kelvin/bench/pb"
)

func main() {
	address := flag.String("address", "127.0.0.1:0", "where to listen")
	files := flag.String("files", ".", "folder of server.crt and server.key")
	limit := flag.Int("readings", 2000, "readings kept per sensor")
	otel := flag.Bool("otel", false, "record and export with the OpenTelemetry plugin")
	flag.Parse()
	go func() {
		// Nothing is ever sent; the pipe closes when the parent ends.
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	log.Fatal(serve(*address, *files, *limit, *otel))
}

func serve(address, files string, limit int, otel bool) error {
	tls, err := credentials.NewServerTLSFromFile(filepath.Join(files, "server.crt"), filepath.Join(files, "server.key"))
	if err != nil {
		return err
	}
	options := []grpc.ServerOption{
		grpc.Creds(tls),
		grpc.InitialWindowSize(65_535),
		grpc.InitialConnWindowSize(math.MaxInt32),
	}
	if otel {
		plugin, err := plugin(context.Background())
		if err != nil {
			return err
		}
		options = append(options, plugin)
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	server := grpc.NewServer(options...)
	pb.RegisterSensorServiceServer(server, &service{store: newStore(limit)})
	return server.Serve(listener)
}

func plugin(ctx context.Context) (grpc.ServerOption, error) {
	metrics, err := otlpmetricgrpc.New(ctx)
	if err != nil {
		return nil, err
	}
	traces, err := otlptracegrpc.New(ctx)
	if err != nil {
		return nil, err
	}
	return opentelemetry.ServerOption(opentelemetry.Options{
		MetricsOptions: opentelemetry.MetricsOptions{
			MeterProvider: metric.NewMeterProvider(metric.WithReader(metric.NewPeriodicReader(metrics))),
		},
		TraceOptions: experimental.TraceOptions{
			TracerProvider:    trace.NewTracerProvider(trace.WithBatcher(traces)),
			TextMapPropagator: propagation.TraceContext{},
		},
	}), nil
}
