//! What a collector receives from the example program, which is configured by `OTEL_*` variables alone.

mod common;

use std::collections::HashSet;

use common::{Identity, emit, run};
use kelvin_telemetry::receiver::{
    Receiver,
    proto::{
        common::v1::any_value::Value,
        metrics::v1::{AggregationTemporality, metric::Data, number_data_point},
        trace::v1::Span,
    },
    text,
};
use opentelemetry::trace::{SpanId, TraceId};
use tonic::transport::{Server, ServerTlsConfig};

/// Everything the program sends, checked on the decoded protobuf.
fn check(receiver: &Receiver, stdout: &str) {
    receiver.look(|received| {
        let (resource, outer) = received.spans().find(|(_, span)| span.name == "outer").unwrap();
        let (_, inner) = received.spans().find(|(_, span)| span.name == "inner").unwrap();
        assert!(outer.parent_span_id.is_empty());
        assert_eq!((&inner.parent_span_id, &inner.trace_id), (&outer.span_id, &outer.trace_id));

        let attributes = &resource.attributes;
        assert_eq!(text(attributes, "service.name"), Some("emit"));
        assert_eq!(text(attributes, "service.version"), Some("1.2.3"));
        assert_eq!(text(attributes, "telemetry.sdk.language"), Some("rust"));
        let instance = text(attributes, "service.instance.id").unwrap();
        assert_eq!(instance.split('-').map(str::len).collect::<Vec<_>>(), [8, 4, 4, 4, 12], "{instance}");

        // All three signals come from the same instance.
        let (metric_resource, count) = received.metrics().find(|(_, m)| m.name == "emit.count").unwrap();
        let (log_resource, record) = received.log_records().next().unwrap();
        for resource in [metric_resource, log_resource] {
            assert_eq!(text(&resource.attributes, "service.instance.id"), Some(instance));
        }

        assert_eq!(count.unit, "{loop}");
        let Some(Data::Sum(sum)) = &count.data else { panic!("{count:?}") };
        assert!(sum.is_monotonic);
        assert_eq!(sum.aggregation_temporality(), AggregationTemporality::Cumulative);
        assert_eq!(sum.data_points[0].value, Some(number_data_point::Value::AsInt(1)));
        assert_eq!(text(&sum.data_points[0].attributes, "kind"), Some("a"));

        let (_, size) = received.metrics().find(|(_, m)| m.name == "emit.size").unwrap();
        let Some(Data::Histogram(histogram)) = &size.data else { panic!("{size:?}") };
        assert_eq!(histogram.data_points[0].explicit_bounds, [0.0, 1.5, 1e9]);
        assert_eq!(histogram.data_points[0].bucket_counts, [0, 1, 0, 0]);

        assert_eq!(record.severity_text, "INFO");
        let body = record.body.as_ref().unwrap().value.as_ref().unwrap();
        assert_eq!(body, &Value::StringValue("in the inner span".into()));
        assert_eq!((&record.trace_id, &record.span_id), (&inner.trace_id, &inner.span_id));

        // The same ids stand in the line on stdout.
        let line: serde_json::Value = serde_json::from_str(stdout.lines().next().unwrap()).unwrap();
        assert_eq!(line["message"], "in the inner span");
        assert_eq!(line["level"], "INFO");
        assert_eq!(line["number"], 0);
        assert_eq!(line["trace_id"], trace_id(inner).to_string());
        assert_eq!(line["span_id"], span_id(inner).to_string());
    });
}

fn trace_id(span: &Span) -> TraceId {
    TraceId::from_bytes(span.trace_id.clone().try_into().unwrap())
}

fn span_id(span: &Span) -> SpanId {
    SpanId::from_bytes(span.span_id.clone().try_into().unwrap())
}

#[tokio::test]
async fn by_grpc() {
    let receiver = Receiver::start().await.unwrap();
    let done = run(emit(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &receiver.grpc_endpoint())])).await;
    check(&receiver, &done.stdout);
}

#[tokio::test]
async fn by_http() {
    let receiver = Receiver::start().await.unwrap();
    let done = run(emit(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &receiver.http_endpoint()),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
    ]))
    .await;
    check(&receiver, &done.stdout);
}

#[tokio::test]
async fn by_grpc_with_tls_and_gzip() {
    let identity = Identity::new();
    let tls =
        ServerTlsConfig::new().identity(tonic::transport::Identity::from_pem(&identity.cert, &identity.key));
    let receiver = Receiver::start_with(&mut Server::builder().tls_config(tls).unwrap()).await.unwrap();
    let endpoint = receiver.grpc_endpoint().replace("http://127.0.0.1", "https://localhost");
    let done = run(emit(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", identity.ca()),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
    ]))
    .await;
    check(&receiver, &done.stdout);
}

#[tokio::test]
async fn by_http_with_tls() {
    let identity = Identity::new();
    let receiver = Receiver::start().await.unwrap();
    let port = identity.terminate(receiver.http_endpoint().replace("http://", "")).await;
    let done = run(emit(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &format!("https://localhost:{port}")),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", identity.ca()),
    ]))
    .await;
    check(&receiver, &done.stdout);
}

#[tokio::test]
async fn each_signal_may_have_its_own_protocol_and_be_left_out() {
    let receiver = Receiver::start().await.unwrap();
    run(emit(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &receiver.grpc_endpoint()),
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/protobuf"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", &(receiver.http_endpoint() + "/v1/traces")),
        ("OTEL_METRICS_EXPORTER", "none"),
    ]))
    .await;
    receiver.look(|received| {
        assert_eq!((received.spans().count(), received.log_records().count()), (2, 1));
        assert_eq!(received.metrics().count(), 0);
    });
}

#[tokio::test]
async fn the_environment_names_the_service() {
    let receiver = Receiver::start().await.unwrap();
    run(emit(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &receiver.grpc_endpoint()),
        ("OTEL_SERVICE_NAME", "renamed"),
        ("OTEL_RESOURCE_ATTRIBUTES", "service.name=loses,service.instance.id=pod-7,k8s.pod.name=seven"),
    ]))
    .await;
    receiver.look(|received| {
        let attributes = &received.spans().next().unwrap().0.attributes;
        assert_eq!(text(attributes, "service.name"), Some("renamed"));
        assert_eq!(text(attributes, "service.instance.id"), Some("pod-7"));
        assert_eq!(text(attributes, "k8s.pod.name"), Some("seven"));
    });
}

#[tokio::test]
async fn the_runtime_and_the_sdk_are_measured() {
    let receiver = Receiver::start().await.unwrap();
    run(emit(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &receiver.grpc_endpoint())])).await;
    let names = units(&receiver);
    for metric in [
        ("kelvin.runtime.busy", "s"),
        ("kelvin.runtime.tasks", "{task}"),
        ("otel.sdk.processor.span.processed", "{span}"),
        ("otel.sdk.processor.log.processed", "{log_record}"),
    ] {
        assert!(names.contains(&(metric.0.into(), metric.1.into())), "{metric:?} is not in {names:?}");
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn the_process_is_measured() {
    let receiver = Receiver::start().await.unwrap();
    run(emit(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &receiver.grpc_endpoint())])).await;
    let names = units(&receiver);
    for metric in [
        ("process.memory.usage", "By"),
        ("process.cpu.time", "s"),
        ("process.thread.count", "{thread}"),
        ("process.unix.file_descriptor.count", "{file_descriptor}"),
    ] {
        assert!(names.contains(&(metric.0.into(), metric.1.into())), "{metric:?} is not in {names:?}");
    }
    receiver.look(|received| {
        let (_, memory) = received.metrics().find(|(_, m)| m.name == "process.memory.usage").unwrap();
        let Some(Data::Sum(memory)) = &memory.data else { panic!("{memory:?}") };
        let Some(number_data_point::Value::AsInt(bytes)) = memory.data_points[0].value else {
            panic!("{memory:?}")
        };
        assert!((1 << 20..1 << 32).contains(&bytes), "{bytes}");
    });
}

fn units(receiver: &Receiver) -> HashSet<(String, String)> {
    receiver.look(|received| received.metrics().map(|(_, m)| (m.name.clone(), m.unit.clone())).collect())
}

#[tokio::test]
async fn transports_do_not_log_into_what_they_export() {
    let receiver = Receiver::start().await.unwrap();
    let done =
        run(emit(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &receiver.grpc_endpoint()), ("RUST_LOG", "trace")])).await;
    // On stdout they may be seen, which also shows that they had something to say.
    assert!(done.stdout.contains(r#""target":"h2::"#), "{}", done.stdout);
    receiver.look(|received| assert_eq!(received.log_records().count(), 1));
}
