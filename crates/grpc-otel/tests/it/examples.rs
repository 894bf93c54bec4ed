//! The examples run, and leave what the README says they leave.

use std::process::Command;

fn run(example: &str, variables: &[(&str, &str)], expected: &[&str]) {
    let test = std::env::current_exe().unwrap();
    let built = test.parent().unwrap().parent().unwrap().join("examples").join(example);
    // `cargo test` builds the examples, unless it is asked for single tests.
    let mut command = if built.exists() { Command::new(built) } else { cargo_run(example) };
    let output =
        command.current_dir(env!("CARGO_MANIFEST_DIR")).envs(variables.iter().copied()).output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for expected in expected {
        assert!(printed.contains(expected), "no {expected} in {printed}");
    }
}

fn cargo_run(example: &str) -> Command {
    let mut command = Command::new(env!("CARGO"));
    command.args(["run", "--quiet", "--example", example]);
    command
}

#[test]
fn hello_world_is_observed() {
    run(
        "hello",
        &[],
        &[
            "Hello Tonic!",
            "Sent.helloworld.Greeter.SayHello",
            "Attempt.helloworld.Greeter.SayHello",
            "Recv.helloworld.Greeter.SayHello",
            "grpc.server.call.duration",
            "grpc.client.call.duration",
            "grpc.client.attempt.started",
        ],
    );
}

#[test]
fn retries_are_observed() {
    run("retry", &[], &["Hello Tonic!", "previous-rpc-attempts: I64(2)", "grpc.client.call.retries"]);
}

#[test]
fn grpc_grpc_web_and_http_share_a_router() {
    run(
        "web",
        &[],
        &[
            "Hello gRPC!",
            "bytes for the browser",
            r#"grpc_server_call_duration_seconds_count{grpc_method="helloworld.Greeter/SayHello",grpc_status="OK""#,
            "grpc_client_attempt_started_total",
        ],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn collector_receives_what_the_otlp_example_sends() {
    let collector = kelvin_telemetry::receiver::Receiver::start().await.unwrap();
    let endpoint = collector.grpc_endpoint();
    tokio::task::spawn_blocking(move || {
        // The line that the handler logs, in the span of `tracing_spans`.
        run("otlp", &[("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)], &["Hello OTLP!", "trace_id=", "greeting"]);
    })
    .await
    .unwrap();
    collector.look(|received| {
        let spans: Vec<_> = received.spans().map(|(_, span)| span.name.as_str()).collect();
        for name in ["Sent", "Attempt", "Recv"] {
            assert!(spans.contains(&format!("{name}.helloworld.Greeter.SayHello").as_str()), "{spans:?}");
        }
        let metrics: Vec<_> = received.metrics().map(|(_, metric)| metric.name.as_str()).collect();
        assert!(metrics.contains(&"grpc.server.call.duration"), "{metrics:?}");
    });
}
