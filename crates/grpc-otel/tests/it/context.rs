//! What handlers see of the call they serve, and what they may leave behind.

use grpc_otel::{GrpcOtel, GrpcTraceBinPropagator, background};
use opentelemetry::{
    Context, KeyValue,
    baggage::BaggageExt as _,
    propagation::TextMapCompositePropagator,
    trace::{FutureExt as _, SpanId, TraceContextExt as _, TraceId, Tracer as _, TracerProvider as _},
};
use opentelemetry_sdk::{
    propagation::{BaggagePropagator, TraceContextPropagator},
    trace::{Sampler, SdkTracerProvider},
};

use crate::{
    observed::Observed,
    support::{client, hello, serve},
};

#[tokio::test]
async fn trace_and_baggage_reach_the_handler() {
    let propagator = || {
        TextMapCompositePropagator::new(vec![
            Box::new(TraceContextPropagator::new()),
            Box::new(BaggagePropagator::new()),
        ])
    };
    let (server, caller) = (Observed::new(), Observed::new());
    let endpoint = serve(&server.builder().propagator(propagator()).build()).await;
    let mut greeter = client(&caller.builder().propagator(propagator()).build(), &endpoint);

    let cx = Context::current_with_baggage([KeyValue::new("tenant", "blue")]);
    let reply = greeter.say_hello(hello("context")).with_context(cx).await.unwrap();
    let span = &server.spans()[0];
    let seen = format!("{} {} blue", span.span_context.trace_id(), span.span_context.span_id());
    assert_eq!(reply.get_ref().message, seen);

    // Also where the handler's stream is polled.
    let replies = greeter.lots_of_replies(hello("context")).await.unwrap();
    let reply = replies.into_inner().message().await.unwrap().unwrap();
    server.until("the second span", |server| server.spans().len() == 2).await;
    assert!(reply.message.contains(&server.spans()[1].span_context.span_id().to_string()));
}

#[tokio::test]
async fn handler_sees_unsampled_context_and_baggage() {
    let tracers = SdkTracerProvider::builder().with_sampler(Sampler::AlwaysOff).build();
    let otel = || GrpcOtel::builder().propagator(BaggagePropagator::new());
    let endpoint = serve(&otel().tracer_provider(&tracers).build()).await;
    let mut greeter = client(&otel().build(), &endpoint);

    let reply = greeter.say_hello(hello("context")).await.unwrap();
    let [trace, span, baggage] = words(&reply.get_ref().message);
    assert_ne!(trace, TraceId::INVALID.to_string());
    assert_ne!(span, SpanId::INVALID.to_string());
    assert_eq!(baggage, "");

    // There is nothing but baggage in the headers.
    let cx = Context::current_with_baggage([KeyValue::new("tenant", "blue")]);
    let reply = greeter.say_hello(hello("context")).with_context(cx).await.unwrap();
    let [.., baggage] = words(&reply.get_ref().message);
    assert_eq!(baggage, "blue");
}

fn words(message: &str) -> [String; 3] {
    let words: Vec<_> = message.split(' ').map(str::to_owned).collect();
    words.try_into().expect("trace, span and baggage")
}

#[tokio::test]
async fn opencensus_peer_context_is_extracted() {
    let (server, caller) = (Observed::new(), Observed::new());
    let endpoint = serve(&server.builder().propagator(GrpcTraceBinPropagator::new()).build()).await;
    let otel = caller.builder().propagator(GrpcTraceBinPropagator::new()).build();
    client(&otel, &endpoint).say_hello(hello("world")).await.unwrap();
    let attempt = &caller.spans()[0];
    assert_eq!(attempt.name, "Attempt.helloworld.Greeter.SayHello");
    assert_eq!(server.spans()[0].parent_span_id, attempt.span_context.span_id());
}

#[test]
fn background_work_is_linked_not_a_child() {
    let observed = Observed::new();
    let tracer = observed.tracers.tracer("test");
    let call = Context::current_with_baggage([KeyValue::new("tenant", "blue")]);
    let call = call.with_span(tracer.start_with_context("call", &call));
    let work = {
        let _current = call.clone().attach();
        background(&tracer, "work")
    };
    assert_eq!(work.baggage().get("tenant").unwrap().as_str(), "blue");
    let cause = call.span().span_context().clone();
    drop((work, call));

    let spans = observed.spans();
    let work = spans.iter().find(|span| span.name == "work").unwrap();
    assert_eq!(work.parent_span_id, SpanId::INVALID);
    assert_ne!(work.span_context.trace_id(), cause.trace_id());
    assert_eq!(work.links.len(), 1);
    assert_eq!(work.links[0].span_context, cause);
}

#[tokio::test]
async fn log_lines_of_a_handler_carry_the_ids() {
    let log = crate::support::Log::default();
    let subscriber = tracing_subscriber::fmt().with_writer(log.clone()).with_ansi(false).finish();
    let _default = tracing::subscriber::set_default(subscriber);
    let server = Observed::new();
    let endpoint = serve(&server.builder().tracing_spans(true).build()).await;
    client(&grpc_otel::GrpcOtel::builder().build(), &endpoint).say_hello(hello("log")).await.unwrap();

    let line = log.text();
    let span = &server.spans()[0].span_context;
    assert!(line.contains(&format!("trace_id={} span_id={}", span.trace_id(), span.span_id())), "{line}");
    assert!(line.contains("as requested"), "{line}");
}
