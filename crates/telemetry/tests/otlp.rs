//! What a collector receives from the example program, which is configured by `OTEL_*` variables alone.

mod common;

use std::{collections::HashSet, fs, time::Duration};

use common::{Terminator, emit, run, server_config};
use kelvin_credentials::ca::{LocalCa, Pair, Usage};
use kelvin_telemetry::{
    Telemetry,
    receiver::{
        Receiver,
        proto::{
            common::v1::any_value::Value,
            logs::v1::ResourceLogs,
            metrics::v1::{AggregationTemporality, metric::Data, number_data_point},
            trace::v1::Span,
        },
        text,
    },
};
use opentelemetry::{
    KeyValue,
    metrics::MeterProvider as _,
    trace::{Span as _, SpanContext, SpanId, TraceId, Tracer as _, TracerProvider as _},
};
use rustls::server::WebPkiClientVerifier;
use tempfile::NamedTempFile;
use tonic::transport::{Identity, Server, ServerTlsConfig};

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
async fn signals_are_exported_over_grpc() {
    let receiver = Receiver::start().await.unwrap();
    let done = run(emit(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &receiver.grpc_endpoint())])).await;
    check(&receiver, &done.stdout);
}

#[tokio::test]
async fn signals_are_exported_over_http() {
    let receiver = Receiver::start().await.unwrap();
    let done = run(emit(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &receiver.http_endpoint()),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
    ]))
    .await;
    check(&receiver, &done.stdout);
}

/// A certificate for localhost, and the file of its CA.
fn certificate() -> (Pair, NamedTempFile) {
    let (ca, file) = (LocalCa::generate().unwrap(), NamedTempFile::new().unwrap());
    fs::write(&file, ca.pem()).unwrap();
    (ca.issue(Usage::Server, &["localhost"]).unwrap(), file)
}

#[tokio::test]
async fn signals_are_exported_over_grpc_with_tls_and_gzip() {
    let (pair, ca) = certificate();
    let tls = ServerTlsConfig::new().identity(Identity::from_pem(&pair.cert, &pair.key));
    let receiver = Receiver::start_with(&mut Server::builder().tls_config(tls).unwrap()).await.unwrap();
    let endpoint = receiver.grpc_endpoint().replace("http://127.0.0.1", "https://localhost");
    let done = run(emit(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", ca.path().to_str().unwrap()),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
    ]))
    .await;
    check(&receiver, &done.stdout);
}

#[tokio::test]
async fn signals_are_exported_over_http_with_tls() {
    let (pair, ca) = certificate();
    let receiver = Receiver::start().await.unwrap();
    let config = server_config(&pair, WebPkiClientVerifier::no_client_auth());
    let terminator = Terminator::start(config, receiver.http_endpoint().replace("http://", "")).await;
    let done = run(emit(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &format!("https://localhost:{}", terminator.port)),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", ca.path().to_str().unwrap()),
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
async fn signals_are_exported_over_http_with_gzip() {
    let receiver = Receiver::start().await.unwrap();
    let done = run(emit(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &receiver.http_endpoint()),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "GZIP "),
    ]))
    .await;
    check(&receiver, &done.stdout);
    receiver.look(|received| {
        assert!(received.headers.iter().all(|headers| headers["content-encoding"] == "gzip"));
    });
}

/// An empty variable is as good as not set, so that of the signal must not hide the token of all.
#[tokio::test]
async fn headers_are_decoded_despite_empty_variable_of_the_signal() {
    for of_signals in [None, Some("")] {
        for protocol in ["grpc", "http/protobuf"] {
            let receiver = Receiver::start().await.unwrap();
            let endpoint =
                if protocol == "grpc" { receiver.grpc_endpoint() } else { receiver.http_endpoint() };
            let mut command = emit(&[
                ("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint),
                ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
                ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20a%252Cb, X-Tenant = 7 ,empty=,b c=d"),
            ]);
            for signal in ["TRACES", "METRICS", "LOGS"] {
                command.envs(of_signals.map(|value| (format!("OTEL_EXPORTER_OTLP_{signal}_HEADERS"), value)));
            }
            let done = run(command).await;
            check_signals(&receiver);
            receiver.look(|received| {
                for headers in &received.headers {
                    let values: Vec<_> = headers.get_all("authorization").iter().collect();
                    assert_eq!(values, ["Bearer a%2Cb"], "{protocol} {of_signals:?}");
                    assert_eq!(headers["x-tenant"], "7", "{protocol} {of_signals:?}");
                    assert!(!headers.contains_key("empty"), "{protocol} {of_signals:?}");
                }
            });
            let warned = |line: &&str| line.contains("some headers are not sent");
            assert_eq!(done.stdout.lines().filter(warned).count(), 1, "{}", done.stdout);
            assert!(!done.stdout.contains("Bearer"), "{}", done.stdout);
        }
    }
}

fn check_signals(receiver: &Receiver) {
    receiver.look(|received| {
        let (spans, metrics, logs) =
            (received.spans().count(), received.metrics().count(), received.log_records().count());
        assert!(spans > 0 && metrics > 0 && logs > 0, "{spans} {metrics} {logs}");
    });
}

#[tokio::test]
async fn temporality_is_as_preferred() {
    let receiver = Receiver::start().await.unwrap();
    run(emit(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &receiver.grpc_endpoint()),
        ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "Delta"),
    ]))
    .await;
    receiver.look(|received| {
        let (_, count) = received.metrics().find(|(_, m)| m.name == "emit.count").unwrap();
        let Some(Data::Sum(sum)) = &count.data else { panic!("{count:?}") };
        assert_eq!(sum.aggregation_temporality(), AggregationTemporality::Delta);
    });
}

#[tokio::test]
async fn intervals_and_batches_are_as_set() {
    let receiver = Receiver::start().await.unwrap();
    let telemetry = Telemetry::builder("often", "1.0.0")
        .variable("OTEL_EXPORTER_OTLP_ENDPOINT", &receiver.grpc_endpoint())
        .variable("OTEL_METRIC_EXPORT_INTERVAL", " 50 ")
        .variable("OTEL_BSP_SCHEDULE_DELAY", "3600000")
        .variable("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "2")
        .build()
        .unwrap();
    telemetry.meter_provider().meter("test").u64_counter("often").build().add(1, &[]);
    // By default it would take a minute each.
    receiver.until("two exports", |received| (received.metrics.len() > 1).then_some(())).await;
    let tracer = telemetry.tracer_provider().unwrap().tracer("test");
    for name in ["first", "second"] {
        tracer.in_span(name, |_| ());
    }
    // Neither the default delay nor the default size would export them before.
    let exported = receiver.until("spans", |received| received.spans().nth(1).map(drop));
    tokio::time::timeout(Duration::from_secs(4), exported).await.unwrap();
    telemetry.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn spans_have_no_more_than_their_limits() {
    let receiver = Receiver::start().await.unwrap();
    let telemetry = Telemetry::builder("limited", "1.0.0")
        .variable("OTEL_EXPORTER_OTLP_ENDPOINT", &receiver.grpc_endpoint())
        .variable("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "1")
        .variable("OTEL_SPAN_EVENT_COUNT_LIMIT", "2")
        .variable("OTEL_SPAN_LINK_COUNT_LIMIT", "3")
        .build()
        .unwrap();
    let tracer = telemetry.tracer_provider().unwrap().tracer("test");
    let mut span = tracer.start("full");
    for number in 0..4 {
        span.set_attribute(KeyValue::new(format!("attribute.{number}"), number));
        span.add_event("event", vec![]);
        span.add_link(SpanContext::empty_context(), vec![]);
    }
    drop(span);
    telemetry.shutdown(Duration::from_secs(5)).await;
    receiver.look(|received| {
        let (_, span) = received.spans().next().expect("the span is exported");
        assert_eq!((span.attributes.len(), span.dropped_attributes_count), (1, 3));
        assert_eq!((span.events.len(), span.dropped_events_count), (2, 2));
        assert_eq!((span.links.len(), span.dropped_links_count), (3, 1));
    });
}

/// By default all four would be exported together, a second later.
#[tokio::test]
async fn log_batches_are_as_set() {
    let receiver = Receiver::start().await.unwrap();
    let endpoint = receiver.grpc_endpoint();
    let mut command = emit(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint),
        ("OTEL_BLRP_MAX_EXPORT_BATCH_SIZE", "1"),
        ("OTEL_BLRP_SCHEDULE_DELAY", "3600000"),
    ]);
    command.arg("4");
    run(command).await;
    receiver.look(|received| {
        // Each export is of one resource.
        let records =
            |logs: &ResourceLogs| logs.scope_logs.iter().map(|logs| logs.log_records.len()).sum::<usize>();
        let batches: Vec<_> = received.logs.iter().map(records).collect();
        assert!(batches.len() >= 4 && batches.iter().all(|records| *records == 1), "{batches:?}");
    });
}

#[tokio::test]
async fn console_prints_all_signals_and_their_resource() {
    let console = ["OTEL_TRACES_EXPORTER", "OTEL_METRICS_EXPORTER", "OTEL_LOGS_EXPORTER"]
        .map(|variable| (variable, "console"));
    let done = run(emit(&console)).await;
    let lines: Vec<_> = done.stdout.lines().filter(|line| !line.starts_with('{')).collect();
    let find = |start: &str, part: &str| {
        assert!(lines.iter().any(|line| line.starts_with(start) && line.contains(part)), "{lines:#?}");
    };
    find("resource ", " service.name=emit ");
    find("span ", " inner ");
    find("metric emit.count 1 {loop} kind=a", "");
    find("metric emit.size count=1 sum=1 By", "");
    find("log ", r#" INFO "in the inner span" number=0 trace_id="#);
    for line in &lines {
        let known = ["resource ", "span ", "metric ", "log "].iter().any(|start| line.starts_with(start));
        assert!(known, "{line}");
    }
}

#[tokio::test]
async fn environment_sets_service_name() {
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
async fn runtime_and_sdk_are_measured() {
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
async fn process_is_measured() {
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
