//! Attributes, instruments and schemas that the application chooses.

use std::sync::{Arc, Mutex};

use grpc_otel::{GrpcOtel, SpanStatus};
use opentelemetry::{
    Context, KeyValue,
    trace::{Link, SpanId, SpanKind, Status, TraceId, TraceState},
};
use opentelemetry_sdk::{
    propagation::{BaggagePropagator, TraceContextPropagator},
    trace::{Sampler, SamplingDecision, SamplingResult, SdkTracerProvider, ShouldSample, SpanData},
};
use tonic::Request;

use crate::{
    greeter::HelloRequest,
    observed::Observed,
    support::{client, hello, serve},
};

fn attribute(span: &SpanData, key: &str) -> Option<String> {
    span.attributes.iter().find(|pair| pair.key.as_str() == key).map(|pair| pair.value.to_string())
}

fn with(metadata: &[(&'static str, &str)]) -> Request<HelloRequest> {
    let mut request = Request::new(hello("world"));
    for (name, value) in metadata {
        request.metadata_mut().append(*name, value.parse().unwrap());
    }
    request
}

fn tenant(headers: &http::HeaderMap, _: &http::Extensions) -> Vec<KeyValue> {
    let tenant = headers.get("tenant").and_then(|tenant| tenant.to_str().ok());
    tenant.map(|tenant| KeyValue::new("tenant", tenant.to_owned())).into_iter().collect()
}

#[tokio::test]
async fn attributes_of_the_application_are_on_spans_and_metrics() {
    let (server, caller) = (Observed::new(), Observed::new());
    let attributed =
        |observed: &Observed| observed.builder().span_attributes(tenant).metric_attributes(tenant).build();
    let endpoint = serve(&attributed(&server)).await;
    let mut greeter = client(&attributed(&caller), &endpoint);
    greeter.say_hello(with(&[("tenant", "blue")])).await.unwrap();
    greeter.say_hello(with(&[])).await.unwrap();

    for (observed, metrics) in [
        (&server, &["grpc.server.call.started", "grpc.server.call.duration"][..]),
        (&caller, &["grpc.client.attempt.started", "grpc.client.call.duration"]),
    ] {
        for metric in metrics {
            assert_eq!(observed.count(metric, &[("tenant", "blue")]), 1, "{metric}");
            assert_eq!(observed.count(metric, &[]), 2, "{metric}");
        }
        let calls = observed.spans().into_iter().filter(|span| span.span_kind != SpanKind::Internal);
        let tenants: Vec<_> = calls.map(|span| attribute(&span, "tenant")).collect();
        assert_eq!(tenants, [Some("blue".to_owned()), None]);
    }
}

#[tokio::test]
async fn chosen_metadata_is_on_spans_and_cut() {
    let server = Observed::new();
    let otel = server.builder().metadata(["user-agent", "X-Tenant", "not a name"]).build();
    let mut greeter = client(&GrpcOtel::builder().build(), &serve(&otel).await);
    let long = "x".repeat(1000);
    let metadata = [("x-tenant", "a"), ("x-tenant", &long), ("authorization", "Bearer secret")];
    greeter.say_hello(with(&metadata)).await.unwrap();

    let span = &server.spans()[0];
    let tenants = attribute(span, "rpc.request.metadata.x-tenant").unwrap();
    assert_eq!(tenants, format!(r#"["a","{}"]"#, "x".repeat(256)));
    assert!(attribute(span, "rpc.request.metadata.user-agent").unwrap().contains("tonic"));
    assert!(!format!("{span:?}").contains("secret"));
}

#[tokio::test]
async fn instruments_that_are_not_chosen_do_not_exist() {
    let server = Observed::new();
    let otel = server.builder().instruments(|name| name.ends_with(".duration")).build();
    client(&GrpcOtel::builder().build(), &serve(&otel).await).say_hello(hello("world")).await.unwrap();
    let names: Vec<_> = server.series().into_iter().map(|series| series.name).collect();
    assert_eq!(names, ["grpc.server.call.duration"]);
}

#[tokio::test]
async fn scope_names_the_released_schema_and_none_for_the_next() {
    use grpc_otel::Semconv;

    for (version, schema) in
        [(Semconv::Released, Some("https://opentelemetry.io/schemas/1.44.0")), (Semconv::Next, None)]
    {
        let server = Observed::new();
        // Whichever option comes first.
        let otel = server.builder().semconv(version).tracer_provider(&server.tracers).build();
        client(&GrpcOtel::builder().build(), &serve(&otel).await).say_hello(hello("a")).await.unwrap();
        let span = &server.spans()[0];
        assert_eq!(span.instrumentation_scope.schema_url(), schema);
        assert_eq!(span.instrumentation_scope.name(), "grpc-otel");
    }
}

#[tokio::test]
async fn opentelemetry_span_status_leaves_ok_unset_and_code_out() {
    let (server, caller) = (Observed::new(), Observed::new());
    let otel = |observed: &Observed| observed.builder().span_status(SpanStatus::OpenTelemetry).build();
    let endpoint = serve(&otel(&server)).await;
    let mut greeter = client(&otel(&caller), &endpoint);
    greeter.say_hello(hello("world")).await.unwrap();
    greeter.say_hello(hello("fail 5 absent")).await.unwrap_err();
    let statuses =
        |observed: &Observed| observed.spans().into_iter().map(|span| span.status).collect::<Vec<_>>();
    assert_eq!(statuses(&server), [Status::Unset, Status::Unset]);
    let absent = || Status::error("absent");
    assert_eq!(statuses(&caller), [Status::Unset, Status::Unset, absent(), absent()]);
}

/// Keeps the attributes it is asked about, and drops the span.
#[derive(Clone, Debug, Default)]
struct Asked(Arc<Mutex<Vec<String>>>);

impl ShouldSample for Asked {
    fn should_sample(
        &self,
        _: Option<&Context>,
        _: TraceId,
        _: &str,
        _: &SpanKind,
        attributes: &[KeyValue],
        _: &[Link],
    ) -> SamplingResult {
        self.0.lock().unwrap().extend(attributes.iter().map(|pair| pair.key.to_string()));
        SamplingResult {
            decision: SamplingDecision::Drop,
            attributes: Vec::new(),
            trace_state: TraceState::default(),
        }
    }
}

#[tokio::test]
async fn sampler_sees_the_attributes_if_asked_for() {
    for (visible, expected) in
        [(false, &[][..]), (true, &["rpc.system.name", "rpc.method", "server.address"])]
    {
        let asked = Asked::default();
        let tracers = SdkTracerProvider::builder().with_sampler(asked.clone()).build();
        let otel = GrpcOtel::builder().tracer_provider(&tracers).sampler_attributes(visible).build();
        client(&GrpcOtel::builder().build(), &serve(&otel).await).say_hello(hello("a")).await.unwrap();
        let seen = asked.0.lock().unwrap();
        assert_eq!(seen.is_empty(), !visible);
        assert!(expected.iter().all(|key| seen.iter().any(|seen| seen == key)), "{seen:?}");
    }
    // What is recorded has them either way, and once.
    for visible in [false, true] {
        let server = Observed::sampled(Sampler::AlwaysOn);
        let endpoint = serve(&server.builder().sampler_attributes(visible).build()).await;
        client(&GrpcOtel::builder().build(), &endpoint).say_hello(hello("a")).await.unwrap();
        let span = &server.spans()[0];
        let methods = span.attributes.iter().filter(|pair| pair.key.as_str() == "rpc.method");
        assert_eq!(methods.count(), 1, "{visible}");
    }
}

const ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

#[tokio::test]
async fn tracestate_in_several_headers_is_one_list() {
    let server = Observed::new();
    let endpoint = serve(&server.builder().propagator(TraceContextPropagator::new()).build()).await;
    let parent = format!("00-{ID}-00f067aa0ba902b7-01");
    let metadata = [("traceparent", parent.as_str()), ("tracestate", "a=1"), ("tracestate", "b=2")];
    client(&GrpcOtel::builder().build(), &endpoint).say_hello(with(&metadata)).await.unwrap();
    let span = &server.spans()[0].span_context;
    assert_eq!(span.trace_id().to_string(), ID);
    assert_eq!(span.trace_state().header(), "a=1,b=2");
}

#[tokio::test]
async fn traceparent_in_several_headers_is_invalid() {
    let server = Observed::new();
    let endpoint = serve(&server.builder().propagator(TraceContextPropagator::new()).build()).await;
    let parents = ["01", "02"].map(|id| format!("00-{ID}-00f067aa0ba902{id}-01"));
    let metadata = [("traceparent", parents[0].as_str()), ("traceparent", parents[1].as_str())];
    client(&GrpcOtel::builder().build(), &endpoint).say_hello(with(&metadata)).await.unwrap();
    assert_ne!(server.spans()[0].span_context.trace_id().to_string(), ID);
}

#[tokio::test]
async fn traceparent_that_is_malformed_is_ignored() {
    let server = Observed::new();
    let endpoint = serve(&server.builder().propagator(TraceContextPropagator::new()).build()).await;
    let mut greeter = client(&GrpcOtel::builder().build(), &endpoint);
    let (span, upper) = ("00f067aa0ba902b7", ID.to_uppercase());
    for (parent, is_valid) in [
        (format!("00-{ID}-{span}-01"), true),
        (format!("cc-{ID}-{span}-01"), true),
        (format!("cc-{ID}-{span}-01-of-the-future"), true),
        (format!("00-{ID}-{span}-01-of-the-future"), false),
        (format!("00-{ID}-{span}-01-"), false),
        (format!("ff-{ID}-{span}-01"), false),
        (format!("0-{ID}-{span}-01"), false),
        (format!("00-{upper}-{span}-01"), false),
        (format!("00-{ID}-{span}-1"), false),
        (format!("00-{ID}-{span}"), false),
        (format!("00-{ID}-+0f067aa0ba902b7-01"), false),
        ("00-1-2-01".to_owned(), false),
    ] {
        greeter.say_hello(with(&[("traceparent", &parent)])).await.unwrap();
        let of_caller = server.spans().last().unwrap().parent_span_id != SpanId::INVALID;
        assert_eq!(of_caller, is_valid, "{parent}");
    }
}

#[tokio::test]
async fn baggage_in_several_headers_is_one_list() {
    let server = Observed::new();
    let endpoint = serve(&server.builder().propagator(BaggagePropagator::new()).build()).await;
    let mut request = with(&[("baggage", "user=7"), ("baggage", "tenant=blue")]);
    request.get_mut().name = "context".to_owned();
    let reply = client(&GrpcOtel::builder().build(), &endpoint).say_hello(request).await.unwrap();
    assert!(reply.get_ref().message.ends_with(" blue"), "{}", reply.get_ref().message);
}
