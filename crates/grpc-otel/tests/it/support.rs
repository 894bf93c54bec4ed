//! A greeter that does as it is told, and what telemetry it left.

use std::{
    collections::BTreeMap,
    io::Write,
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use grpc_otel::{Builder, ClientLayer, GrpcOtel, Methods};
use opentelemetry::{Context, StringValue, baggage::BaggageExt as _, trace::TraceContextExt as _};
use opentelemetry_sdk::{
    metrics::{
        InMemoryMetricExporter, PeriodicReader, SdkMeterProvider,
        data::{AggregatedMetrics, MetricData},
    },
    propagation::TraceContextPropagator,
    trace::{InMemorySpanExporter, Sampler, SdkTracerProvider, SpanData},
};
use tokio::net::TcpListener;
use tokio_stream::{Stream, StreamExt as _, wrappers::TcpListenerStream};
use tonic::{
    Code, Request, Response, Status, Streaming,
    codec::CompressionEncoding,
    transport::{Channel, Endpoint, Server},
};
use tower::ServiceBuilder;
use tracing_subscriber::fmt::MakeWriter;

use crate::greeter::{
    FILE_DESCRIPTOR_SET, HelloReply, HelloRequest,
    greeter_client::GreeterClient,
    greeter_server::{Greeter, GreeterServer},
};

pub(crate) const TARGET: &str = "dns:///greeter.test:50051";

/// Telemetry that stays in memory.
pub(crate) struct Observed {
    pub(crate) meters: SdkMeterProvider,
    pub(crate) tracers: SdkTracerProvider,
    metrics: InMemoryMetricExporter,
    spans: InMemorySpanExporter,
}

impl Observed {
    pub(crate) fn new() -> Self {
        Self::sampled(Sampler::AlwaysOn)
    }

    pub(crate) fn sampled(sampler: Sampler) -> Self {
        let metrics = InMemoryMetricExporter::default();
        let reader = PeriodicReader::builder(metrics.clone()).with_interval(Duration::from_hours(1)).build();
        let spans = InMemorySpanExporter::default();
        let tracers =
            SdkTracerProvider::builder().with_simple_exporter(spans.clone()).with_sampler(sampler).build();
        Self { meters: SdkMeterProvider::builder().with_reader(reader).build(), tracers, metrics, spans }
    }

    pub(crate) fn builder(&self) -> Builder {
        GrpcOtel::builder()
            .meter_provider(&self.meters)
            .tracer_provider(&self.tracers)
            .propagator(TraceContextPropagator::new())
    }

    pub(crate) fn spans(&self) -> Vec<SpanData> {
        self.spans.get_finished_spans().unwrap()
    }

    /// Every series as it stands.
    pub(crate) fn series(&self) -> Vec<Series> {
        self.metrics.reset();
        self.meters.force_flush().unwrap();
        let exported = self.metrics.get_finished_metrics().unwrap();
        let mut series = Vec::new();
        for metric in exported.iter().flat_map(|all| all.scope_metrics()).flat_map(|scope| scope.metrics()) {
            let describe = |kind: &'static str| Series {
                name: metric.name().to_owned(),
                unit: metric.unit().to_owned(),
                description: metric.description().to_owned(),
                kind,
                ..Series::default()
            };
            macro_rules! histogram {
                ($histogram:expr, $kind:literal) => {
                    for point in $histogram.data_points() {
                        series.push(Series {
                            attributes: attributes(point.attributes()),
                            count: point.count(),
                            #[allow(clippy::cast_lossless, reason = "of two types")]
                            sum: point.sum() as f64,
                            bounds: point.bounds().collect(),
                            ..describe($kind)
                        });
                    }
                };
            }
            match metric.data() {
                AggregatedMetrics::U64(MetricData::Sum(sum)) => {
                    for point in sum.data_points() {
                        series.push(Series {
                            attributes: attributes(point.attributes()),
                            count: point.value(),
                            ..describe("counter")
                        });
                    }
                }
                AggregatedMetrics::U64(MetricData::Histogram(histogram)) => {
                    histogram!(histogram, "histogram of integers");
                }
                AggregatedMetrics::F64(MetricData::Histogram(histogram)) => {
                    histogram!(histogram, "histogram");
                }
                other => panic!("{} is of a kind nobody asked for: {other:?}", metric.name()),
            }
        }
        series
    }

    /// How many measurements the series of a metric have whose attributes include these.
    pub(crate) fn count(&self, metric: &str, attributes: &[(&str, &str)]) -> u64 {
        self.matching(metric, attributes).map(|series| series.count).sum()
    }

    /// The sum of measurements of the same.
    pub(crate) fn sum(&self, metric: &str, attributes: &[(&str, &str)]) -> f64 {
        self.matching(metric, attributes).map(|series| series.sum).sum()
    }

    fn matching(&self, metric: &str, wanted: &[(&str, &str)]) -> impl Iterator<Item = Series> {
        self.series().into_iter().filter(move |series| {
            series.name == metric
                && wanted.iter().all(|(key, value)| series.attributes.get(*key).is_some_and(|v| v == value))
        })
    }

    /// Waits for something the other side does in its own time.
    pub(crate) async fn until(&self, what: &str, mut done: impl FnMut(&Self) -> bool) {
        let patience = tokio::time::Instant::now() + Duration::from_secs(10);
        while !done(self) {
            assert!(tokio::time::Instant::now() < patience, "{what}: {:#?}", self.series());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

fn attributes<'a>(pairs: impl Iterator<Item = &'a opentelemetry::KeyValue>) -> BTreeMap<String, String> {
    pairs.map(|pair| (pair.key.to_string(), pair.value.to_string())).collect()
}

/// One series of a metric.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Series {
    pub(crate) name: String,
    pub(crate) unit: String,
    pub(crate) description: String,
    pub(crate) kind: &'static str,
    pub(crate) attributes: BTreeMap<String, String>,
    pub(crate) count: u64,
    pub(crate) sum: f64,
    pub(crate) bounds: Vec<f64>,
}

pub(crate) fn methods() -> Methods {
    Methods::from_descriptor_set(FILE_DESCRIPTOR_SET).unwrap()
}

/// Where a server is to listen, and a channel's way there.
pub(crate) async fn listen() -> (Endpoint, TcpListenerStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (Endpoint::try_from(format!("http://{address}")).unwrap(), TcpListenerStream::new(listener))
}

pub(crate) fn greeter() -> GreeterServer<Told> {
    GreeterServer::new(Told)
        .accept_compressed(CompressionEncoding::Gzip)
        .send_compressed(CompressionEncoding::Gzip)
}

/// Starts a server behind the layer; it lives as long as the test.
pub(crate) async fn serve(otel: &GrpcOtel) -> Endpoint {
    let (endpoint, incoming) = listen().await;
    let server = Server::builder().layer(otel.server_layer(methods())).add_service(greeter());
    tokio::spawn(server.serve_with_incoming(incoming));
    endpoint
}

pub(crate) type Client = GreeterClient<<ClientLayer as tower::Layer<Channel>>::Service>;

/// A client behind the layer.
pub(crate) fn client(otel: &GrpcOtel, endpoint: &Endpoint) -> Client {
    GreeterClient::new(
        ServiceBuilder::new().layer(otel.client_layer(TARGET)).service(endpoint.connect_lazy()),
    )
}

pub(crate) fn hello(name: &str) -> HelloRequest {
    HelloRequest { name: name.to_owned() }
}

/// Does what the names in its requests tell it.
#[derive(Clone)]
pub(crate) struct Told;

/// `fail 14 message`, `wait` for ever, `panic`, `bytes 1000`, `log`, tell the `context`; anything
/// else is greeted.
async fn obey(name: &str) -> Result<HelloReply, Status> {
    let (verb, rest) = name.split_once(' ').unwrap_or((name, ""));
    match verb {
        "fail" => {
            let (code, message) = rest.split_once(' ').unwrap_or((rest, ""));
            Err(Status::new(Code::from_i32(code.parse().unwrap()), message))
        }
        "wait" => std::future::pending().await,
        "panic" => panic!("as told"),
        "log" => {
            tracing::info!("as told");
            Ok(HelloReply::default())
        }
        "context" => Ok(HelloReply { message: Context::map_current(describe) }),
        "bytes" => Ok(HelloReply { message: "x".repeat(rest.parse().unwrap()) }),
        _ => Ok(HelloReply { message: format!("Hello {name}") }),
    }
}

fn describe(context: &Context) -> String {
    let span = context.span();
    let (trace_id, span_id) = (span.span_context().trace_id(), span.span_context().span_id());
    let tenant = context.baggage().get("tenant").map_or("", StringValue::as_str);
    format!("{trace_id} {span_id} {tenant}")
}

/// Log lines, kept.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Log {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(line)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

type Replies = Pin<Box<dyn Stream<Item = Result<HelloReply, Status>> + Send>>;

#[tonic::async_trait]
impl Greeter for Told {
    async fn say_hello(&self, request: Request<HelloRequest>) -> Result<Response<HelloReply>, Status> {
        obey(&request.get_ref().name).await.map(Response::new)
    }

    type LotsOfRepliesStream = Replies;

    /// One reply for each name between commas.
    async fn lots_of_replies(&self, request: Request<HelloRequest>) -> Result<Response<Replies>, Status> {
        let names: Vec<_> = request.get_ref().name.split(',').map(str::to_owned).collect();
        let replies = tokio_stream::iter(names).then(|name| async move { obey(&name).await });
        Ok(Response::new(Box::pin(replies)))
    }

    async fn lots_of_greetings(
        &self,
        request: Request<Streaming<HelloRequest>>,
    ) -> Result<Response<HelloReply>, Status> {
        let mut requests = request.into_inner();
        let mut count = 0;
        while let Some(request) = requests.message().await? {
            obey(&request.name).await?;
            count += 1;
        }
        Ok(Response::new(HelloReply { message: count.to_string() }))
    }

    type BidiHelloStream = Replies;

    async fn bidi_hello(
        &self,
        request: Request<Streaming<HelloRequest>>,
    ) -> Result<Response<Replies>, Status> {
        let replies = request.into_inner().then(|request| async move { obey(&request?.name).await });
        Ok(Response::new(Box::pin(replies)))
    }
}
