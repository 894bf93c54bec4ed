//! grpcio, the implementation that most clients in the field use.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    path::Path,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use crate::{
    Program, is_there,
    support::{TOKEN, grpcio},
};

/// How long the server is paused. A tonic server with defaults closes the connection sooner: h2 limits the number of small
/// frames that are queued and unread.
const PAUSE: Duration = Duration::from_secs(1);

#[tokio::test]
async fn grpcio_makes_all_calls_and_64_streams_survive_a_pause() {
    if !is_there("python3", "--version") {
        return;
    }
    let python = tokio::task::spawn_blocking(grpcio::environment).await.unwrap();
    let program = Program::start().await;
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut client = Command::new(python)
        .arg(repository.join("tests/interop/client.py"))
        .arg(repository.join("../../proto/sensor.proto"))
        .arg(format!("localhost:{}", program.address.port()))
        .arg(program.files.path("ca.pem"))
        .arg(TOKEN)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(client.stdout.take().unwrap()).lines().map_while(Result::ok);
    let ended = tokio::task::spawn_blocking(move || {
        let mut seen = Vec::new();
        for line in &mut lines {
            if line == "streaming" {
                program.process.signal("STOP");
                thread::sleep(PAUSE);
                program.process.signal("CONT");
            }
            seen.push(line);
        }
        let mut errors = String::new();
        client.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
        (client.wait().unwrap(), seen, errors)
    });
    let (status, seen, errors) = ended.await.unwrap();
    assert!(status.success(), "{seen:?}\n{errors}");
    assert_eq!(seen, ["calls ok", "compressed calls ok", "refusals ok", "streaming", "streams ok"]);
}
