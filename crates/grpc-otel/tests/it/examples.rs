//! The examples run, and leave what the README says they leave.

use std::process::Command;

fn run(example: &str, expected: &[&str]) {
    let test = std::env::current_exe().unwrap();
    let built = test.parent().unwrap().parent().unwrap().join("examples").join(example);
    // `cargo test` builds the examples, unless it is asked for single tests.
    let mut command = if built.exists() { Command::new(built) } else { cargo_run(example) };
    let output = command.current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
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
    run("retry", &["Hello Tonic!", "previous-rpc-attempts: I64(2)", "grpc.client.call.retries"]);
}
