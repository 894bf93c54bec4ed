//! The demo as a user runs it.

use std::{
    net::TcpListener,
    process::{Command, Output, Stdio},
};

use kelvin_proto::CallType;
use kelvin_testing::{Process, is_installed};
use serde_json::Value;

fn kelvin(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kelvin"));
    command.args(arguments);
    command
}

#[test]
fn all_four_types_of_call_work() {
    let picture = std::env::temp_dir().join(format!("kelvin-demo-{}.svg", std::process::id()));
    let mut demo = kelvin(&["demo", "--duration", "8s", "--json", "--port", "0", "--picture"]);
    demo.arg(&picture);
    // It counts by spans, and must not miss those that somebody has no wish to export.
    demo.env("OTEL_TRACES_SAMPLER", "always_off").env("OTEL_EXPORTER_OTLP_ENDPIONT", "http://localhost:4317");
    let output = demo.output().unwrap();
    check(&output);
    let errors = String::from_utf8_lossy(&output.stderr);
    for warning in ["OTEL_TRACES_SAMPLER: has no effect", "OTEL_EXPORTER_OTLP_ENDPIONT: unknown variable"] {
        assert_eq!(errors.matches(warning).count(), 1, "{errors}");
    }
    let svg = std::fs::read_to_string(&picture).unwrap();
    std::fs::remove_file(&picture).unwrap();
    assert!(
        svg.starts_with("<svg") && svg.contains("bidi-streaming") && svg.contains("ListSensors"),
        "{svg}"
    );
}

/// The same with its readings on Valkey.
#[test]
fn all_four_types_of_call_work_on_valkey() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let valkey = runtime.block_on(kelvin_testing::ValkeyServer::start(&[]));
    let arguments = ["demo", "--plain", "--duration", "8s", "--json", "--port", "0", "--store", "valkey"];
    let output = kelvin(&arguments).env("KELVIN_VALKEY_ADDRESS", valkey.address()).output().unwrap();
    check(&output);
    let streams: Vec<String> = runtime.block_on(valkey.query(&["KEYS", "*:d:unary-*"])).unwrap();
    assert_eq!(streams.len(), 2, "{streams:?}");
}

fn check(output: &Output) {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let summary: Value = serde_json::from_slice(&output.stdout).expect("nothing but JSON");
    for kind in CallType::ALL.map(CallType::key) {
        let calls = &summary["rpc"][kind];
        assert!(calls["calls"].as_u64().unwrap() > 0, "{kind} in {summary}\n{errors}");
        assert_eq!(calls["errors"], 0, "{kind} in {summary}\n{errors}");
        let (p50, p99) = (calls["p50_ms"].as_f64().unwrap(), calls["p99_ms"].as_f64().unwrap());
        assert!(0.0 < p50 && p50 <= p99, "{kind} in {summary}");
    }
    // Each unary call stores one reading, and two other clients store too.
    assert!(summary["readings_stored"].as_u64() > summary["rpc"]["unary"]["calls"].as_u64(), "{summary}");
    assert!(summary["alerts"].is_u64());
    assert!(errors.contains("grpcurl -cacert "), "{errors}");
}

#[test]
fn grpcurl_line_works_and_interrupt_exits_cleanly() {
    if !is_installed("grpcurl", "--version") {
        return;
    }
    let mut demo = kelvin(&["demo", "--plain", "--port", "0", "--duration", "1m"]);
    let mut demo = Process::new(demo.stdout(Stdio::piped()).spawn().unwrap());
    let mut lines = demo.lines();
    let line = lines.find(|line| line.starts_with("grpcurl ")).unwrap();
    let stored = |line: &String| line.contains("readings") && !line.contains(" 0 readings");
    lines.find(stored).expect("readings are stored");
    // Any sensor's reading may be the first: ask until this one has sent one too.
    let listed = (0..100)
        .map(|_| Command::new("bash").args(["-c", &line]).output().unwrap())
        .find(|listed| String::from_utf8_lossy(&listed.stdout).contains("\"sensorId\": \"unary-1\""))
        .expect("unary-1 is listed");
    demo.signal("INT");
    lines.until("readings stored, ");
    let code = demo.wait().unwrap().code();
    assert!(listed.status.success());
    assert_eq!(code, Some(0));
}

#[test]
fn port_in_use_is_reported_with_what_to_do() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let output = kelvin(&["demo", "--plain", "--port", &port]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains(&format!("port {port} is in use")) && error.contains("--port 0"), "{error}");
    assert!(output.stdout.is_empty());
}
