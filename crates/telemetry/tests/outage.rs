//! Collectors that are gone, slow or silent, and none at all.

mod common;

use std::collections::HashSet;

use common::{emit, run};
use kelvin_telemetry::receiver::Receiver;
use tokio::{io::copy, net::TcpListener};

/// Enough to fill every queue many times over: they hold 2048 spans and as many log records.
const LOOPS: u32 = 20_000;

/// What a loop may take, in milliseconds. Unoptimised and with other tests beside it, it takes some tens of
/// microseconds; waiting for a collector would take a second.
const LOOP: u64 = 1;

/// The example's own limit for its shutdown and some room for a busy machine, in milliseconds.
const SHUTDOWN: u64 = 3_000 + 1_500;

/// What full queues may take, in KiB. They take about 4 MiB; with room for all it would be 13.
const MEMORY: u64 = 8 * 1024;

async fn check(name: &str, endpoint: &str, protocol: &str) {
    let mut command =
        emit(&[("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint), ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)]);
    command.arg(LOOPS.to_string());
    let done = run(command).await;
    let figures = done.stderr.lines().last().unwrap();
    let figures: Vec<u64> = figures.split(' ').map(|figure| figure.parse().unwrap()).collect();
    let [emitted, shutdown, memory] = figures[..] else { panic!("{figures:?}") };
    println!("{name}: {figures:?}");
    assert!(emitted < u64::from(LOOPS) * LOOP, "{name}: {emitted} ms");
    assert!(shutdown < SHUTDOWN, "{name}: {shutdown} ms");
    assert!(memory < MEMORY, "{name}: {memory} KiB");
}

#[tokio::test]
async fn absent_collector_costs_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    check("gone, gRPC", &endpoint, "grpc").await;
    check("gone, HTTP", &endpoint, "http/protobuf").await;
}

#[tokio::test]
async fn unaccepting_collector_costs_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    check("silent, gRPC", &endpoint, "grpc").await;
    check("silent, HTTP", &endpoint, "http/protobuf").await;
}

#[tokio::test]
async fn unresponsive_collector_costs_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move { copy(&mut stream, &mut tokio::io::sink()).await });
        }
    });
    check("mute, gRPC", &endpoint, "grpc").await;
    check("mute, HTTP", &endpoint, "http/protobuf").await;
}

#[tokio::test]
async fn without_an_endpoint_nothing_complains() {
    for variables in
        [&[][..], &[("OTEL_SDK_DISABLED", "true"), ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")]]
    {
        let done = run(emit(variables)).await;
        assert_eq!(done.stdout.lines().count(), 1, "only its own line: {}", done.stdout);
        assert_eq!(done.stderr.lines().count(), 1, "only its times: {}", done.stderr);
    }
}

#[tokio::test]
async fn outage_is_logged_at_a_limited_rate_and_only_on_stdout() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let done = run(emit(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)])).await;
    let errors: Vec<_> = done.stdout.lines().filter(|line| line.contains(r#""level":"ERROR""#)).collect();
    let names: HashSet<_> = errors.iter().map(|line| line.split(r#""name":"#).nth(1)).collect();
    assert!(!errors.is_empty(), "{}", done.stdout);
    assert_eq!(errors.len(), names.len(), "{errors:#?}");
    assert!(done.stdout.lines().last().unwrap().contains("telemetry not fully exported"), "{}", done.stdout);
}

#[tokio::test]
async fn failed_export_over_http_is_logged_with_its_cause() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let variables =
        [("OTEL_EXPORTER_OTLP_ENDPOINT", &*endpoint), ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")];
    let done = run(emit(&variables)).await;
    let caused = |line: &&str| line.contains("OTLP export over HTTP failed") && line.contains("refused");
    assert!(done.stdout.lines().any(|line| caused(&line)), "{}", done.stdout);
}

#[tokio::test]
async fn ignored_value_is_warned_of_once_and_the_default_is_used() {
    for (variable, value) in [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "carrier-pigeon"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "zstd"),
        ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "deltas"),
        ("OTEL_TRACES_SAMPLER", "always_offf"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "0"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "18446744073709551615"),
    ] {
        let receiver = Receiver::start().await.unwrap();
        let endpoint = receiver.grpc_endpoint();
        let done = run(emit(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint), (variable, value)])).await;
        let warned = |line: &&str| line.contains(variable) && line.contains(value);
        assert_eq!(done.stdout.lines().filter(warned).count(), 1, "{}", done.stdout);
        receiver.look(|received| {
            assert_eq!(
                (received.spans().count(), received.log_records().count() > 0),
                (2, true),
                "{variable}"
            );
        });
    }
}

#[tokio::test]
async fn console_that_nobody_reads_is_no_error() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let console = ["OTEL_TRACES_EXPORTER", "OTEL_METRICS_EXPORTER", "OTEL_LOGS_EXPORTER"]
        .map(|variable| (variable, "console"));
    let output = emit(&console).stdout(writer).output().await.unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && text.lines().count() == 1, "only its times: {text}");
}

#[tokio::test]
async fn unusable_endpoint_ends_the_program_and_names_the_variable() {
    for (endpoint, shown) in [("ftp://collector", "ftp://collector"), ("ftp://me:secret@host", "host")] {
        let output = emit(&[("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)]).output().await.unwrap();
        assert!(!output.status.success());
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.contains("OTEL_EXPORTER_OTLP_ENDPOINT") && text.contains(shown), "{text}");
        assert!(!text.contains("secret"), "{text}");
    }
}
