//! `OTEL_PROPAGATORS` on the wire: a call carries the headers of the configured propagators and of no others.

use std::collections::BTreeMap;

use http::{HeaderMap, HeaderValue};
use kelvin_client::{Channel, Config};
use kelvin_proto::SensorReading;
use kelvin_telemetry::Telemetry;
use opentelemetry::trace::SpanContext;
use opentelemetry_sdk::trace::{InMemorySpanExporter, SimpleSpanProcessor};
use tonic::Code;

use crate::disabled;

/// Returns the headers of a call that any propagator could have set, and the context of the call's only attempt.
async fn sent(propagators: &str) -> (BTreeMap<String, HeaderValue>, SpanContext) {
    let (address, mut received) = disabled::serve().await;
    let spans = InMemorySpanExporter::default();
    let telemetry = Telemetry::builder("propagators", "1.0.0")
        .variable("OTEL_PROPAGATORS", propagators)
        .span_processor(SimpleSpanProcessor::new(spans.clone()))
        .build()
        .unwrap();
    let config = Config::from_pairs([("KELVIN_SERVER", format!("http://{address}"))]).unwrap();
    let channel = Channel::open(&config, &telemetry).unwrap();
    let error = channel.client().send_single_reading(SensorReading::default()).await.unwrap_err();
    assert_eq!(error.code(), Code::Unimplemented, "{error}");

    let spans = spans.get_finished_spans().unwrap();
    let attempts: Vec<_> = spans.iter().filter(|span| span.name.starts_with("Attempt.")).collect();
    let [attempt] = attempts[..] else { panic!("{spans:#?}") };
    (context_headers(&received.recv().await.unwrap()), attempt.span_context.clone())
}

fn context_headers(headers: &HeaderMap) -> BTreeMap<String, HeaderValue> {
    let is_of_context = |name: &str| name.contains("b3") || name.contains("trace") || name == "baggage";
    headers
        .iter()
        .filter(|(name, _)| is_of_context(name.as_str()))
        .map(|(name, value)| (name.as_str().to_owned(), value.clone()))
        .collect()
}

fn headers<const N: usize>(headers: [(&str, String); N]) -> BTreeMap<String, HeaderValue> {
    headers.map(|(name, value)| (name.to_owned(), HeaderValue::try_from(value).unwrap())).into()
}

#[tokio::test]
async fn b3_is_sent_in_one_header_without_traceparent() {
    let (sent, attempt) = sent("b3").await;
    let expected = format!("{}-{}-1", attempt.trace_id(), attempt.span_id());
    assert_eq!(sent, headers([("b3", expected)]));
}

#[tokio::test]
async fn b3multi_is_sent_in_three_headers_without_traceparent() {
    let (sent, attempt) = sent("b3multi").await;
    let expected = headers([
        ("x-b3-sampled", "1".to_owned()),
        ("x-b3-spanid", attempt.span_id().to_string()),
        ("x-b3-traceid", attempt.trace_id().to_string()),
    ]);
    assert_eq!(sent, expected);
}

/// Without it, a filter that lets no `traceparent` through would make the tests above pass.
#[tokio::test]
async fn traceparent_is_sent_by_default() {
    let (sent, attempt) = sent("").await;
    let expected = format!("00-{}-{}-01", attempt.trace_id(), attempt.span_id());
    assert_eq!(sent["traceparent"], expected);
    assert!(sent.keys().all(|name| !name.contains("b3")), "{sent:?}");
}
