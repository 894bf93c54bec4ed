//! The hello-world example leaves what its README says it leaves.

use std::process::Command;

#[test]
fn hello_world_is_observed() {
    let output = Command::new(env!("CARGO"))
        .args(["run", "--quiet", "--example", "hello"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for expected in [
        "Hello Tonic!",
        "Sent.helloworld.Greeter.SayHello",
        "Attempt.helloworld.Greeter.SayHello",
        "Recv.helloworld.Greeter.SayHello",
        "grpc.server.call.duration",
        "grpc.client.call.duration",
        "grpc.client.attempt.started",
    ] {
        assert!(printed.contains(expected), "no {expected} in {printed}");
    }
}
