//! grpcio, the implementation that most clients in the field use.

use std::{
    path::Path,
    process::{Command, Output, Stdio},
    thread,
    time::Duration,
};

use kelvin_testing::{Process, is_installed};

use crate::support::{Files, TOKEN, grpcio, program::Program};

/// How long the server is paused. A tonic server with defaults closes the connection sooner: h2 limits the number of small
/// frames that are queued and unread.
const PAUSE: Duration = Duration::from_secs(1);

#[tokio::test]
async fn grpcio_makes_all_calls_and_64_streams_survive_a_pause() {
    if !is_installed("python3", "--version") {
        return;
    }
    let python = tokio::task::spawn_blocking(grpcio::environment).await.unwrap();
    let files = Files::new();
    let program = Program::start(&files, &[]).await;
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
    let client = Command::new(python)
        .arg(repository.join("tests/interop/client.py"))
        .arg(repository.join("../../proto/sensor.proto"))
        .arg(format!("localhost:{}", program.address.port()))
        .arg(files.path("ca.pem"))
        .arg(TOKEN)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut client = Process::new(client);
    let ended = tokio::task::spawn_blocking(move || {
        let mut seen = Vec::new();
        for line in client.lines() {
            if line == "streaming" {
                program.process.signal("STOP");
                thread::sleep(PAUSE);
                program.process.signal("CONT");
            }
            seen.push(line);
        }
        (client.wait_with_output().unwrap(), seen)
    });
    let (Output { status, stderr, .. }, seen) = ended.await.unwrap();
    assert!(status.success(), "{seen:?}\n{}", String::from_utf8_lossy(&stderr));
    assert_eq!(seen, ["calls ok", "compressed calls ok", "refusals ok", "streaming", "streams ok"]);
}
