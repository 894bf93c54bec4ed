//! grpcio, the implementation that most clients in the field use.

use std::{
    fs,
    os::unix::fs::symlink,
    path::Path,
    process::{Command, Output, Stdio},
    thread,
    time::Duration,
};

use kelvin_credentials::ca::Usage;
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

/// The commands and the script of `docs/kubernetes-external-sensors.md`, whose server has a certificate for another name
/// than its address. Only the installation of grpcio differs: it has happened, with versions that are fixed.
#[tokio::test]
async fn documented_script_stores_a_reading() {
    const INSTALL: &str = "python3 -m venv venv && venv/bin/pip install grpcio grpcio-tools\n";
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let page = fs::read_to_string(repository.join("docs/kubernetes-external-sensors.md")).unwrap();
    let (_, page) = page.split_once("\n### Python\n").unwrap();
    let block = |language: &str| {
        let (_, rest) = page.split_once(&format!("```{language}\n")).unwrap();
        rest.split("```").next().unwrap()
    };
    let commands = block("sh").strip_prefix(INSTALL).expect("the commands begin with the installation");
    if !is_installed("python3", "--version") {
        return;
    }

    let files = Files::new();
    let pair = files.ca.issue(Usage::Server, &["sensors.example.org"]).unwrap();
    pair.write(&files.path("server.pem"), &files.path("server.key")).unwrap();
    let program = Program::start(&files, &[]).await;
    let script = block("python").replace(":30051", &format!(":{}", program.address.port()));
    fs::write(files.path("sensor.py"), script).unwrap();
    fs::copy(files.path("ca.pem"), files.path("ca.crt")).unwrap();
    fs::write(files.path("token"), TOKEN).unwrap();
    symlink(repository.join("proto"), files.path("proto")).unwrap();
    let python = tokio::task::spawn_blocking(grpcio::environment).await.unwrap();
    symlink(python.parent().unwrap().parent().unwrap(), files.path("venv")).unwrap();

    let mut shell = Command::new("bash");
    shell.args(["-euo", "pipefail", "-c", commands]).current_dir(files.dir.path());
    let Output { status, stdout, stderr } =
        tokio::task::spawn_blocking(move || shell.output().unwrap()).await.unwrap();
    assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
    assert_eq!(String::from_utf8_lossy(&stdout), "stored\n");
}
