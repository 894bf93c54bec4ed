//! The demo as a user runs it.

use std::{net::TcpListener, process::Command};

use serde_json::Value;

fn kelvin(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kelvin"));
    command.args(arguments);
    command
}

#[test]
fn all_four_types_of_call_work() {
    let output = kelvin(&["demo", "--duration", "8s", "--json", "--port", "0"]).output().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{errors}");
    let summary: Value = serde_json::from_slice(&output.stdout).expect("nothing but JSON");
    for kind in ["unary", "client_streaming", "server_streaming", "bidi_streaming"] {
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
fn a_port_in_use_is_told_with_what_to_do() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let output = kelvin(&["demo", "--plain", "--port", &port]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains(&format!("port {port} is in use")) && error.contains("--port 0"), "{error}");
    assert!(output.stdout.is_empty());
}
