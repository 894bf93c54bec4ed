//! The lines of the README, by grpcurl and reflection.

use std::{fs, path::Path, process::Command};

use crate::{
    Program, is_there,
    support::{Files, TOKEN},
};

/// What begins a block of lines that are run here.
const FENCE: &str = "```sh grpcurl\n";

#[tokio::test]
async fn the_lines_of_the_readme_work() {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md");
    let lines = blocks(&fs::read_to_string(readme).unwrap());
    let calls = ["SendSingleReading", "StreamSensorReadings", "GetSensorReadings", "SensorChat"];
    for wanted in calls.iter().chain(&["list", "describe"]) {
        assert!(lines.contains(wanted), "no {wanted} in the README's lines for grpcurl:\n{lines}");
    }
    if !is_there("grpcurl", "--version") {
        return;
    }
    let program = Program::start().await;
    lay_out(&program.files);
    let lines = lines.replace("localhost:50051", &format!("localhost:{}", program.address.port()));
    let mut shell = Command::new("bash");
    shell.args(["-euo", "pipefail", "-c", &lines]).current_dir(program.files.dir.path());
    let output = tokio::task::spawn_blocking(move || shell.output().unwrap()).await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{lines}\n{said}\n{}", String::from_utf8_lossy(&output.stderr));
    for wanted in calls.iter().chain(&["\"accepted\"", "\"temperature\"", "\"serverTime\"", "\"STATUS\""]) {
        assert!(said.contains(wanted), "no {wanted} in:\n{said}");
    }
}

/// The names that the README gives to the files.
fn lay_out(files: &Files) {
    fs::create_dir(files.path("certs")).unwrap();
    fs::copy(files.path("ca.pem"), files.path("certs/ca.crt")).unwrap();
    fs::write(files.path("certs/tokens"), TOKEN).unwrap();
}

/// All lines of the blocks for grpcurl, in order.
fn blocks(readme: &str) -> String {
    let bodies = readme.split(FENCE).skip(1);
    bodies.map(|rest| rest.split("```").next().unwrap_or_default()).collect()
}
