//! What the options of the builder change.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use grpc_otel::{Attempt, DurationMetrics, GrpcOtel, Methods, Semconv, ServerLayer};
use http::{Request, header::CONTENT_TYPE};
use opentelemetry::{
    Context, InstrumentationScope, KeyValue,
    baggage::BaggageExt as _,
    metrics::{
        BoundSyncInstrument, Histogram, HistogramBuilder, InstrumentProvider, Meter, MeterProvider,
        SyncInstrument,
    },
    propagation::TextMapCompositePropagator,
    trace::{FutureExt as _, SpanId, SpanKind, TraceContextExt as _},
};
use opentelemetry_sdk::propagation::{BaggagePropagator, TraceContextPropagator};
use tonic::{Status, body::Body};
use tower::{Layer as _, ServiceExt as _};

use crate::{
    observed::Observed,
    support::{Log, TARGET, client, hello, serve},
};

fn both() -> TextMapCompositePropagator {
    TextMapCompositePropagator::new(vec![
        Box::new(TraceContextPropagator::new()),
        Box::new(BaggagePropagator::new()),
    ])
}

/// The attribute of the only span.
fn attribute(observed: &Observed, key: &str) -> Option<String> {
    let spans = observed.spans();
    assert_eq!(spans.len(), 1);
    spans[0].attributes.iter().find(|pair| pair.key.as_str() == key).map(|pair| pair.value.to_string())
}

#[tokio::test]
async fn attempt_span_kind_client_is_kept() {
    let caller = Observed::new();
    let endpoint = serve(&GrpcOtel::builder().build()).await;
    let otel = caller.builder().attempt_span_kind(SpanKind::Client).build();
    client(&otel, &endpoint).say_hello(hello("world")).await.unwrap();
    let kinds: Vec<_> = caller.spans().into_iter().map(|span| span.span_kind).collect();
    assert_eq!(kinds, [SpanKind::Client, SpanKind::Client]);
}

#[tokio::test]
async fn filter_of_one_method_leaves_only_the_others() {
    let (server, caller) = (Observed::new(), Observed::new());
    let others = |method: &str| method != "helloworld.Greeter/SayHello";
    let endpoint = serve(&server.builder().filter(others).build()).await;
    let mut greeter = client(&caller.builder().filter(others).build(), &endpoint);
    greeter.say_hello(hello("world")).await.unwrap();
    greeter.lots_of_greetings(tokio_stream::iter([hello("a")])).await.unwrap();
    for (observed, started, spans) in
        [(&server, "grpc.server.call.started", 1), (&caller, "grpc.client.attempt.started", 2)]
    {
        assert_eq!(observed.count(started, &[]), 1);
        assert!(observed.spans().iter().all(|span| span.name.ends_with(".LotsOfGreetings")));
        assert_eq!(observed.spans().len(), spans);
    }
}

#[tokio::test]
async fn next_conventions_rename_the_code_in_spans_and_metrics() {
    let server = Observed::new();
    let otel = server.builder().semconv(Semconv::Next).duration_metrics(DurationMetrics::Both).build();
    let endpoint = serve(&otel).await;
    client(&GrpcOtel::builder().build(), &endpoint).say_hello(hello("world")).await.unwrap();
    assert_eq!(server.count("rpc.server.call.duration", &[("rpc.status_code", "OK")]), 1);
    assert_eq!(attribute(&server, "rpc.status_code").as_deref(), Some("OK"));
    assert_eq!(attribute(&server, "rpc.response.status_code"), None);
}

#[tokio::test]
async fn public_endpoint_links_to_caller_and_ignores_its_baggage() {
    let (server, caller) = (Observed::new(), Observed::new());
    let otel =
        server.builder().propagator(both()).public_endpoint_if(|headers, _| !headers.contains_key("known"));
    let endpoint = serve(&otel.build()).await;
    let mut greeter = client(&caller.builder().propagator(both()).build(), &endpoint);
    let mut seen = Vec::new();
    for known in [false, true] {
        let mut request = tonic::Request::new(hello("context"));
        if known {
            request.metadata_mut().insert("known", "yes".parse().unwrap());
        }
        let cx = Context::current_with_baggage([KeyValue::new("tenant", "blue")]);
        let reply = greeter.say_hello(request).with_context(cx).await.unwrap().into_inner();
        seen.push(reply.message.rsplit(' ').next().unwrap().to_owned());
    }
    assert_eq!(seen, ["", "blue"]);

    let attempts: Vec<_> =
        caller.spans().into_iter().filter(|span| span.name.starts_with("Attempt.")).collect();
    let [unknown, known] = server.spans().try_into().unwrap();
    assert_eq!(unknown.parent_span_id, SpanId::INVALID);
    assert_ne!(unknown.span_context.trace_id(), attempts[0].span_context.trace_id());
    let links: Vec<_> = unknown.links.iter().map(|link| link.span_context.span_id()).collect();
    assert_eq!(links, [attempts[0].span_context.span_id()]);
    assert_eq!(known.parent_span_id, attempts[1].span_context.span_id());
    assert!(known.links.is_empty());
}

/// The request, to a server that does nothing.
async fn answered(layer: ServerLayer, request: http::request::Builder) {
    let inner =
        tower::service_fn(|_: Request<_>| async { Ok::<_, Infallible>(http::Response::new(Body::empty())) });
    drop(layer.layer(inner).oneshot(request.body(Body::empty()).unwrap()).await.unwrap());
}

/// One call from this peer.
async fn asked(server: &Observed, uri: &str, peer: &str) {
    let otel = server.builder().peer_address(|extensions| extensions.get::<SocketAddr>().copied()).build();
    let request = Request::post(uri)
        .header(CONTENT_TYPE, "application/grpc+proto")
        .extension(peer.parse::<SocketAddr>().unwrap());
    answered(otel.server_layer(Methods::new()), request).await;
}

#[tokio::test]
async fn request_that_is_no_grpc_call_passes_unrecorded() {
    for (method, content_type, recorded) in [
        ("POST", "application/grpc", 1),
        ("POST", "application/grpc+proto", 1),
        ("POST", "Application/GRPC; charset=utf-8", 1),
        ("POST", "application/grpc-web", 0),
        ("POST", "application/grpc-web+proto", 0),
        ("POST", "application/grpcs", 0),
        ("POST", "application/json", 0),
        ("GET", "application/grpc", 0),
        ("PUT", "application/grpc+proto", 0),
    ] {
        let server = Observed::new();
        let layer = server.builder().build().server_layer(Methods::new());
        answered(layer, Request::builder().method(method).header(CONTENT_TYPE, content_type)).await;
        assert_eq!(server.count("grpc.server.call.started", &[]), recorded, "{method} {content_type}");
        assert_eq!(server.spans().len() as u64, recorded, "{method} {content_type}");
    }
}

#[tokio::test]
async fn peer_of_a_connection_is_on_the_spans_of_its_calls() {
    let server = Observed::new();
    let layer = server.builder().build().server_layer(Methods::new());
    let layer = layer.with_peer("192.0.2.7:7".parse().unwrap());
    answered(layer, Request::post("/a.B/C").header(CONTENT_TYPE, "application/grpc")).await;
    assert_eq!(attribute(&server, "network.peer.address").as_deref(), Some("192.0.2.7"));
    assert_eq!(attribute(&server, "network.peer.port").as_deref(), Some("7"));
}

#[tokio::test]
async fn addresses_have_no_brackets_and_no_mapping() {
    let server = Observed::new();
    asked(&server, "http://[2001:db8::1]:50051/a.B/C", "[::ffff:10.0.0.1]:7").await;
    assert_eq!(attribute(&server, "server.address").as_deref(), Some("2001:db8::1"));
    assert_eq!(attribute(&server, "server.port").as_deref(), Some("50051"));
    assert_eq!(attribute(&server, "network.peer.address").as_deref(), Some("10.0.0.1"));
}

#[tokio::test]
async fn values_of_callers_are_cut_to_256_bytes() {
    let server = Observed::new();
    let (host, method) = ("h".repeat(300), "m".repeat(5000));
    asked(&server, &format!("http://{host}/{method}"), "10.0.0.1:7").await;
    assert_eq!(attribute(&server, "server.address"), Some("h".repeat(256)));
    assert_eq!(attribute(&server, "rpc.method_original"), Some("m".repeat(256)));
}

#[test]
fn server_without_methods_is_warned_of() {
    let warned = |methods| {
        let log = Log::default();
        let subscriber = tracing_subscriber::fmt().with_writer(log.clone()).with_ansi(false).finish();
        tracing::subscriber::with_default(subscriber, || {
            Observed::new().builder().build().server_layer(methods)
        });
        log.text().contains("server layer has no methods")
    };
    assert!(warned(Methods::new()));
    assert!(!warned(Methods::new().and_method("a.B/C")));
    assert!(!warned(Methods::new().and_unregistered(|_| true)));
}

/// Keeps which span was current when something was measured.
#[derive(Clone, Default)]
struct Currents(Arc<Mutex<Vec<SpanId>>>);

impl Currents {
    fn keep(&self) {
        self.0.lock().unwrap().push(Context::map_current(|cx| cx.span().span_context().span_id()));
    }
}

impl<T: 'static> SyncInstrument<T> for Currents {
    fn measure(&self, _: T, _: &[KeyValue]) {
        self.keep();
    }

    fn bind(&self, _: &[KeyValue]) -> Box<dyn BoundSyncInstrument<T> + Send + Sync> {
        Box::new(self.clone())
    }
}

impl<T> BoundSyncInstrument<T> for Currents {
    fn measure(&self, _: T) {
        self.keep();
    }
}

impl InstrumentProvider for Currents {
    fn u64_counter(
        &self,
        _: opentelemetry::metrics::InstrumentBuilder<'_, opentelemetry::metrics::Counter<u64>>,
    ) -> opentelemetry::metrics::Counter<u64> {
        opentelemetry::metrics::Counter::new(Arc::new(self.clone()))
    }

    fn f64_histogram(&self, _: HistogramBuilder<'_, Histogram<f64>>) -> Histogram<f64> {
        Histogram::new(Arc::new(self.clone()))
    }

    fn u64_histogram(&self, _: HistogramBuilder<'_, Histogram<u64>>) -> Histogram<u64> {
        Histogram::new(Arc::new(self.clone()))
    }
}

impl MeterProvider for Currents {
    fn meter_with_scope(&self, _: InstrumentationScope) -> Meter {
        Meter::new(Arc::new(self.clone()))
    }
}

#[tokio::test]
async fn measurements_are_taken_inside_the_span_of_their_call() {
    let (server, currents) = (Observed::new(), Currents::default());
    let endpoint = serve(&server.builder().meter_provider(&currents).build()).await;
    client(&GrpcOtel::builder().build(), &endpoint).say_hello(hello("world")).await.unwrap();
    let span = server.spans()[0].span_context.span_id();
    // Started, duration, and the sizes of both directions.
    assert_eq!(*currents.0.lock().unwrap(), [span; 4]);
}

#[tokio::test]
async fn delays_are_measured_inside_the_span_of_what_is_delayed() {
    let (caller, currents) = (Observed::new(), Currents::default());
    let otel = caller.builder().meter_provider(&currents).delay_metrics(true);
    let otel = otel.instruments(|name| name.ends_with(".delay.duration")).build();
    let channel = otel.client_layer(TARGET).layer(tower::service_fn(|request: Request<Body>| {
        let _elsewhere = Context::new().attach();
        let attempt = request.extensions().get::<Attempt>().unwrap();
        drop(attempt.delay("resolving", ""));
        drop(attempt.delay("connecting", ""));
        std::future::ready(Ok::<_, Infallible>(Status::ok("").into_http::<Body>()))
    }));
    drop(channel.oneshot(Request::post("/a.B/C").body(Body::empty()).unwrap()).await.unwrap());
    let spans = caller.spans();
    let [call, attempt] = ["Sent.other", "Attempt.other"]
        .map(|name| spans.iter().find(|span| span.name == name).unwrap().span_context.span_id());
    assert_eq!(*currents.0.lock().unwrap(), [call, attempt]);
}
