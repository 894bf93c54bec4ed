//! What channels and retry layers say of attempts.

use std::{convert::Infallible, time::Duration};

use grpc_otel::{Attempt, GrpcOtel, TransparentRetry};
use http::{Request, Response};
use opentelemetry::trace::{SpanContext, SpanKind};
use opentelemetry_sdk::trace::SpanData;
use tonic::{Status, body::Body};
use tower::{BoxError, Layer as _, Service, ServiceBuilder, ServiceExt as _};

use crate::{
    greeter::greeter_client::GreeterClient,
    observed::Observed,
    support::{TARGET, client, hello, serve},
};

const PEER: &str = "[::ffff:192.0.2.7]:50051";

fn attribute(span: &SpanData, key: &str) -> Option<String> {
    span.attributes.iter().find(|pair| pair.key.as_str() == key).map(|pair| pair.value.to_string())
}

fn named<'a>(spans: &'a [SpanData], start: &str) -> Vec<&'a SpanData> {
    spans.iter().filter(|span| span.name.starts_with(start)).collect()
}

fn events(span: &SpanData) -> Vec<&str> {
    span.events.iter().map(|event| event.name.as_ref()).collect()
}

/// A channel that does not know where to send the first attempt, and has no connection for the second.
async fn send(request: Request<Body>) -> Result<Response<Body>, Infallible> {
    let attempt = request.extensions().get::<Attempt>().expect("a recorded attempt").clone();
    if request.headers().get("grpc-previous-rpc-attempts").is_none() {
        let resolving = attempt.delay("resolving", "waiting for DNS");
        tokio::time::sleep(Duration::from_millis(20)).await;
        drop(resolving);
        attempt.record_peer(PEER.parse().expect("an address"));
        let mut response = Status::unavailable("GOAWAY").into_http();
        *response.extensions_mut() = request.extensions().clone();
        return Ok(response);
    }
    let delay = attempt.delay("connecting", "round_robin: waiting for any endpoint to connect");
    tokio::time::sleep(Duration::from_millis(20)).await;
    drop(delay);
    attempt.record_peer(PEER.parse().expect("an address"));
    let mut response = Response::new(Body::empty());
    response.headers_mut().insert("grpc-status", http::HeaderValue::from_static("0"));
    Ok(response)
}

/// A service whose first attempt never left the channel, which gives its request back.
fn resend<S, B>(attempts: S) -> impl Service<Request<Body>, Response = Response<B>, Error = BoxError> + Clone
where
    S: Service<Request<Body>, Response = Response<B>, Error = Infallible> + Clone,
{
    tower::service_fn(move |request: Request<Body>| {
        let attempts = attempts.clone();
        async move {
            let (parts, body) = request.into_parts();
            let first = Request::from_parts(parts.clone(), Body::empty());
            let response = attempts.clone().oneshot(first).await?;
            assert!(response.headers().contains_key("grpc-status"));
            let mut second = Request::from_parts(parts, body);
            second.headers_mut().insert("grpc-previous-rpc-attempts", http::HeaderValue::from_static("0"));
            second.extensions_mut().extend(response.extensions().clone());
            second.extensions_mut().insert(TransparentRetry);
            Ok::<_, BoxError>(attempts.oneshot(second).await?)
        }
    })
}

/// A call whose first attempt never left the channel.
async fn call(otel: &GrpcOtel) {
    let attempts = otel.client_attempt_layer(TARGET).layer(tower::service_fn(send));
    let calls = otel.client_call_layer(TARGET).layer(resend(attempts));
    drop(GreeterClient::new(calls).say_hello(hello("world")).await);
}

#[tokio::test]
async fn transparent_retry_is_an_attempt_but_no_retry() {
    let caller = Observed::new();
    call(&caller.builder().retry_metrics(true).build()).await;

    let spans = caller.spans();
    let attempts: Vec<_> = named(&spans, "Attempt.")
        .into_iter()
        .map(|span| [attribute(span, "previous-rpc-attempts"), attribute(span, "transparent-retry")])
        .map(|pair| pair.map(Option::unwrap_or_default).join(" "))
        .collect();
    assert_eq!(attempts, ["0 false", "0 true"]);
    assert_eq!(caller.count("grpc.client.attempt.started", &[]), 2);
    assert_eq!(caller.count("grpc.client.call.transparent_retries", &[("grpc.target", TARGET)]), 1);
    assert_eq!(caller.count("grpc.client.call.retries", &[]), 0);
    assert_eq!(caller.count("grpc.client.call.hedges", &[]), 0);
}

#[tokio::test]
async fn peer_and_delays_of_an_attempt_are_recorded() {
    let caller = Observed::new();
    call(&caller.builder().delay_metrics(true).build()).await;

    let spans = caller.spans();
    let [first, second] = named(&spans, "Attempt.")[..] else { panic!("{spans:#?}") };
    let [call] = named(&spans, "Sent.")[..] else { panic!("{spans:#?}") };
    for span in [first, second, call] {
        assert_eq!(attribute(span, "network.peer.address").as_deref(), Some("192.0.2.7"), "{}", span.name);
        assert_eq!(attribute(span, "network.peer.port").as_deref(), Some("50051"), "{}", span.name);
    }

    assert_eq!(events(call), ["Delayed name resolution complete"]);
    assert_eq!(events(second)[0], "Delayed LB pick complete");
    let [resolving, connecting] = named(&spans, "Delay")[..] else { panic!("{spans:#?}") };
    let id = |span: &SpanData| SpanContext::span_id(&span.span_context);
    for (delay, parent, kind) in [(resolving, call, "resolving"), (connecting, second, "connecting")] {
        assert_eq!(delay.parent_span_id, id(parent), "{kind}");
        assert_eq!(delay.span_kind, SpanKind::Internal);
        assert_eq!(attribute(delay, "grpc.delay_type").as_deref(), Some(kind));
        assert_eq!(events(delay), ["Delay triggered"]);
        let length = delay.end_time.duration_since(delay.start_time).unwrap();
        assert!(length >= Duration::from_millis(20), "{length:?}");
    }
    for (metric, kind) in [
        ("grpc.client.call.delay.duration", "resolving"),
        ("grpc.client.attempt.delay.duration", "connecting"),
    ] {
        let attributes = [("grpc.delay_type", kind), ("grpc.method", "helloworld.Greeter/SayHello")];
        assert_eq!(caller.count(metric, &attributes), 1, "{metric}");
        assert_eq!(caller.count(metric, &[]), 1, "{metric}");
        assert!(caller.sum(metric, &attributes) >= 0.02, "{metric}");
    }
}

#[tokio::test]
async fn peer_without_call_layer_is_not_set_on_application_span() {
    use opentelemetry::trace::{FutureExt as _, TraceContextExt as _, Tracer as _, TracerProvider as _};

    let caller = Observed::new();
    let span = caller.tracers.tracer("application").start("work");
    let context = opentelemetry::Context::new().with_span(span);
    let attempts = caller.builder().build().client_attempt_layer(TARGET).layer(tower::service_fn(send));
    let mut greeter = GreeterClient::new(attempts);
    greeter.say_hello(hello("world")).with_context(context.clone()).await.unwrap_err();
    context.span().end();
    let spans = caller.spans();
    assert_eq!(attribute(named(&spans, "work")[0], "network.peer.address"), None);
    assert!(attribute(named(&spans, "Attempt.")[0], "network.peer.address").is_some());
}

#[tokio::test]
async fn two_plugins_on_one_channel_count_their_own_attempts() {
    let callers = [Observed::new(), Observed::new()];
    let [outer, inner] =
        [0, 1].map(|index| callers[index].builder().retry_metrics(true).delay_metrics(true).build());
    let attempts = inner.client_attempt_layer(TARGET).layer(tower::service_fn(send));
    let attempts = outer.client_attempt_layer(TARGET).layer(attempts);
    let calls = inner.client_call_layer(TARGET).layer(resend(attempts));
    let calls = outer.client_call_layer(TARGET).layer(calls);
    drop(GreeterClient::new(calls).say_hello(hello("world")).await);
    for (index, caller) in callers.iter().enumerate() {
        for (metric, count) in [
            ("grpc.client.attempt.started", 2),
            ("grpc.client.attempt.delay.duration", 1),
            ("grpc.client.call.delay.duration", 1),
            ("grpc.client.call.retry_delay", 1),
            ("grpc.client.call.transparent_retries", 1),
            ("grpc.client.call.retries", 0),
            ("grpc.client.call.hedges", 0),
        ] {
            assert_eq!(caller.count(metric, &[]), count, "{metric} {index}");
        }
        let spans = caller.spans();
        let attempts = named(&spans, "Attempt.");
        let of = |key| attempts.iter().map(|span| attribute(span, key).unwrap()).collect::<Vec<_>>();
        assert_eq!(of("transparent-retry"), ["false", "true"], "{index}");
        assert_eq!(of("network.peer.address"), ["192.0.2.7"; 2], "{index}");
    }
}

#[tokio::test]
async fn delay_events_are_recorded_once_and_only_when_complete() {
    const RESOLVED: &str = "Delayed name resolution complete";
    const PICKED: &str = "Delayed LB pick complete";
    for (delays, peers, of_call, of_attempt) in [
        (&["resolving"][..], 0, &[][..], &[][..]),
        (&["resolving", "connecting"], 0, &[RESOLVED], &[]),
        (&["resolving", "connecting", "connecting"], 2, &[RESOLVED], &[PICKED]),
        (&[], 1, &[], &[]),
    ] {
        let caller = Observed::new();
        let channel = tower::service_fn(move |request: Request<Body>| {
            let attempt = request.extensions().get::<Attempt>().unwrap();
            for kind in delays {
                drop(attempt.delay(kind, ""));
            }
            (0..peers).for_each(|_| attempt.record_peer(PEER.parse().unwrap()));
            std::future::ready(Ok::<_, Infallible>(Status::ok("").into_http::<Body>()))
        });
        let channel = caller.builder().build().client_layer(TARGET).layer(channel);
        drop(channel.oneshot(Request::post("/a.B/C").body(Body::empty()).unwrap()).await.unwrap());
        let spans = caller.spans();
        assert_eq!(events(named(&spans, "Sent.")[0]), of_call, "{delays:?}");
        assert_eq!(events(named(&spans, "Attempt.")[0]), of_attempt, "{delays:?}");
    }
}

#[tokio::test]
async fn inner_layer_is_called_in_the_context_of_the_attempt() {
    use opentelemetry::trace::get_active_span;

    let caller = Observed::new();
    let endpoint = serve(&GrpcOtel::builder().build()).await;
    let (sender, seen) = std::sync::mpsc::channel();
    let channel = ServiceBuilder::new()
        .layer(caller.builder().build().client_layer(TARGET))
        .map_request(move |request: Request<Body>| {
            sender.send(get_active_span(|span| span.span_context().span_id())).unwrap();
            request
        })
        .service(endpoint.connect_lazy());
    GreeterClient::new(channel).say_hello(hello("world")).await.unwrap();
    let spans = caller.spans();
    assert_eq!(seen.recv().unwrap(), named(&spans, "Attempt.")[0].span_context.span_id());
}

#[tokio::test]
async fn raw_client_call_is_named_by_filter_or_original_method() {
    let endpoint = serve(&GrpcOtel::builder().build()).await;
    for (accepted, name) in [(false, "Sent.other"), (true, "Sent.helloworld.Greeter.SayHello")] {
        let caller = Observed::new();
        let otel = caller.builder().client_methods(move |name| accepted && name.starts_with("helloworld."));
        let channel =
            ServiceBuilder::new().layer(otel.build().client_layer(TARGET)).service(endpoint.connect_lazy());
        let mut raw = tonic::client::Grpc::new(channel);
        raw.ready().await.unwrap();
        let codec = tonic_prost::ProstCodec::<_, crate::greeter::HelloReply>::default();
        let path = http::uri::PathAndQuery::from_static("/helloworld.Greeter/SayHello");
        raw.unary(tonic::Request::new(hello("world")), path, codec).await.unwrap();
        let spans = caller.spans();
        for span in &spans {
            let original = attribute(span, "rpc.method_original");
            assert_eq!(original.as_deref(), (!accepted).then_some("helloworld.Greeter/SayHello"));
        }
        assert_eq!(named(&spans, "Sent.")[0].name, name);
    }
}

#[tokio::test]
async fn target_that_is_not_named_is_other_in_metrics() {
    let caller = Observed::new();
    let endpoint = serve(&GrpcOtel::builder().build()).await;
    let otel = caller.builder().targets(|target| target != TARGET).build();
    client(&otel, &endpoint).say_hello(hello("world")).await.unwrap();
    assert_eq!(caller.count("grpc.client.call.duration", &[("grpc.target", "other")]), 1);
    assert_eq!(caller.count("grpc.client.attempt.started", &[("grpc.target", "other")]), 1);
}
