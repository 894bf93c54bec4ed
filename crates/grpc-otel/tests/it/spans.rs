//! The spans of A72.

use std::time::{Duration, SystemTime};

use grpc_otel::{MessageEvents, SpanStatus};
use opentelemetry::trace::{SpanId, SpanKind, Status};
use opentelemetry_sdk::trace::{Sampler, SpanData};
use tokio_stream::StreamExt as _;

use crate::{
    observed::Observed,
    support::{client, hello, serve},
};

/// Two clocks are read one after the other, so they may seem to be this far apart.
const CLOCKS: Duration = Duration::from_millis(1);

fn attribute(span: &SpanData, key: &str) -> Option<String> {
    span.attributes.iter().find(|pair| pair.key.as_str() == key).map(|pair| pair.value.to_string())
}

fn named<'a>(spans: &'a [SpanData], name: &str) -> &'a SpanData {
    spans.iter().find(|span| span.name == name).unwrap_or_else(|| panic!("no {name} in {spans:#?}"))
}

#[tokio::test]
async fn call_is_one_trace_of_three_spans() {
    let (server, caller) = (Observed::new(), Observed::new());
    let endpoint = serve(&server.builder().build()).await;
    let before = SystemTime::now() - CLOCKS;
    client(&caller.builder().build(), &endpoint).say_hello(hello("world")).await.unwrap();
    let after = SystemTime::now() + CLOCKS;

    let (servers, callers) = (server.spans(), caller.spans());
    let sent = named(&callers, "Sent.helloworld.Greeter.SayHello");
    let attempt = named(&callers, "Attempt.helloworld.Greeter.SayHello");
    let received = named(&servers, "Recv.helloworld.Greeter.SayHello");
    assert_eq!((callers.len(), servers.len()), (2, 1));

    assert_eq!(sent.parent_span_id, SpanId::INVALID);
    assert_eq!(attempt.parent_span_id, sent.span_context.span_id());
    assert_eq!(received.parent_span_id, attempt.span_context.span_id());
    assert_eq!(received.span_context.trace_id(), sent.span_context.trace_id());
    assert_eq!([&sent.span_kind, &attempt.span_kind], [&SpanKind::Client, &SpanKind::Internal]);
    assert_eq!(received.span_kind, SpanKind::Server);

    for span in [sent, attempt, received] {
        assert_eq!(span.status, Status::Ok);
        assert_eq!(attribute(span, "rpc.system.name").as_deref(), Some("grpc"));
        assert_eq!(attribute(span, "rpc.method").as_deref(), Some("helloworld.Greeter/SayHello"));
        assert_eq!(attribute(span, "rpc.response.status_code").as_deref(), Some("OK"));
        assert_eq!(attribute(span, "error.type"), None);
    }
    for span in [sent, attempt] {
        assert_eq!(attribute(span, "server.address").as_deref(), Some("greeter.test"));
        assert_eq!(attribute(span, "server.port").as_deref(), Some("50051"));
    }
    assert_eq!(attribute(attempt, "previous-rpc-attempts").as_deref(), Some("0"));
    assert_eq!(attribute(attempt, "transparent-retry").as_deref(), Some("false"));
    assert_eq!(attribute(received, "server.address").as_deref(), Some("127.0.0.1"));
    assert_eq!(attribute(received, "network.peer.address").as_deref(), Some("127.0.0.1"));
    assert!(attribute(received, "network.peer.port").is_some());

    for span in [sent, attempt, received] {
        let times = span.events.iter().map(|event| event.timestamp);
        let times: Vec<_> = [span.start_time].into_iter().chain(times).chain([span.end_time]).collect();
        assert!(before <= span.start_time && times.is_sorted() && span.end_time <= after, "{times:?}");
    }

    let events = |span: &SpanData| {
        span.events
            .iter()
            .map(|event| {
                let attributes: Vec<_> =
                    event.attributes.iter().map(|pair| format!("{}={}", pair.key, pair.value)).collect();
                format!("{} {}", event.name, attributes.join(" "))
            })
            .collect::<Vec<_>>()
    };
    let (request, reply) = ("sequence-number=0 message-size=7", "sequence-number=0 message-size=13");
    assert!(events(sent).is_empty());
    assert_eq!(events(attempt), [format!("Outbound message {request}"), format!("Inbound message {reply}")]);
    assert_eq!(events(received), [format!("Inbound message {request}"), format!("Outbound message {reply}")]);
}

#[tokio::test]
async fn errors_carry_code_and_message() {
    let (server, caller) = (Observed::new(), Observed::new());
    let endpoint = serve(&server.builder().build()).await;
    let mut greeter = client(&caller.builder().build(), &endpoint);
    greeter.say_hello(hello("fail 5 no such ünit, 100 %")).await.unwrap_err();
    for span in server.spans().iter().chain(&caller.spans()) {
        let client = span.span_kind != SpanKind::Server;
        assert_eq!(span.status, Status::error("NOT_FOUND, no such ünit, 100 %"), "{}", span.name);
        assert_eq!(attribute(span, "rpc.response.status_code").as_deref(), Some("NOT_FOUND"));
        // The caller's fault is not an error of the server.
        assert_eq!(attribute(span, "error.type").as_deref(), client.then_some("NOT_FOUND"));
    }
}

#[tokio::test]
async fn span_status_may_ignore_the_callers_faults() {
    let server = Observed::new();
    let endpoint = serve(&server.builder().span_status(SpanStatus::OpenTelemetry).build()).await;
    let mut greeter = client(&grpc_otel::GrpcOtel::builder().build(), &endpoint);
    greeter.say_hello(hello("fail 5 yours")).await.unwrap_err();
    greeter.say_hello(hello("fail 13 mine")).await.unwrap_err();
    let statuses: Vec<_> = server.spans().into_iter().map(|span| span.status).collect();
    assert_eq!(statuses, [Status::Unset, Status::error("mine")]);
}

#[tokio::test]
async fn events_of_long_streams_are_bounded() {
    let server = Observed::new();
    let endpoint = serve(&server.builder().message_events(MessageEvents::first(3)).build()).await;
    let mut greeter = client(&grpc_otel::GrpcOtel::builder().build(), &endpoint);
    let replies = greeter.lots_of_replies(hello(&vec!["a"; 1000].join(","))).await.unwrap();
    assert_eq!(replies.into_inner().collect::<Vec<_>>().await.len(), 1000);

    let span = &server.spans()[0];
    let outbound: Vec<_> = span
        .events
        .iter()
        .filter(|event| event.name == "Outbound message")
        .map(|event| event.attributes[0].value.to_string().parse::<u64>().unwrap())
        .collect();
    assert_eq!(outbound, [0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512]);
    assert_eq!(attribute(span, "grpc_otel.outbound.unrecorded").as_deref(), Some("989"));
    assert_eq!(attribute(span, "grpc_otel.inbound.unrecorded"), None);
}

#[tokio::test]
async fn unsampled_calls_leave_no_span_but_tell_the_next() {
    let server = Observed::sampled(Sampler::ParentBased(Box::new(Sampler::AlwaysOn)));
    let caller = Observed::sampled(Sampler::AlwaysOff);
    let endpoint = serve(&server.builder().build()).await;
    client(&caller.builder().build(), &endpoint).say_hello(hello("world")).await.unwrap();
    assert!(caller.spans().is_empty() && server.spans().is_empty());
    assert_eq!(caller.count("grpc.client.call.duration", &[]), 1);
}
