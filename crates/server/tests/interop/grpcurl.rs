//! The grpcurl lines of `docs/api.md`, run against a real server through reflection.

use std::{fs, path::Path, process::Command};

use kelvin_testing::is_installed;

use crate::support::{Files, TOKEN, program::Program};

/// The opening fence of a block that this test runs.
const FENCE: &str = "```sh grpcurl\n";

#[tokio::test]
async fn documented_grpcurl_lines_succeed() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/api.md");
    let lines = blocks(&fs::read_to_string(page).unwrap());
    let calls = ["SendSingleReading", "StreamSensorReadings", "GetSensorReadings", "SensorChat"];
    for wanted in calls.iter().chain(&["list", "describe"]) {
        assert!(lines.contains(wanted), "no {wanted} in the grpcurl lines of docs/api.md:\n{lines}");
    }
    if !is_installed("grpcurl", "--version") {
        return;
    }
    let files = Files::new();
    let program = Program::start(&files, &[]).await;
    lay_out(&files);
    let lines = lines.replace("localhost:50051", &format!("localhost:{}", program.address.port()));
    let mut shell = Command::new("bash");
    shell.args(["-euo", "pipefail", "-c", &lines]).current_dir(files.dir.path());
    let output = tokio::task::spawn_blocking(move || shell.output().unwrap()).await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{lines}\n{said}\n{}", String::from_utf8_lossy(&output.stderr));
    for wanted in calls.iter().chain(&["\"accepted\"", "\"temperature\"", "\"serverTime\"", "\"STATUS\""]) {
        assert!(said.contains(wanted), "no {wanted} in:\n{said}");
    }
}

/// Creates the files under the names that the page uses.
fn lay_out(files: &Files) {
    fs::create_dir(files.path("certs")).unwrap();
    fs::copy(files.path("ca.pem"), files.path("certs/ca.crt")).unwrap();
    fs::write(files.path("certs/tokens"), TOKEN).unwrap();
}

/// Returns the lines of all grpcurl blocks, in order.
fn blocks(page: &str) -> String {
    let bodies = page.split(FENCE).skip(1);
    bodies.map(|rest| rest.split("```").next().unwrap_or_default()).collect()
}
