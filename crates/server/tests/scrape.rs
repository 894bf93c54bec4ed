//! What Prometheus makes of `/metrics`. Its programs are asked where they are installed.

mod support;

use std::{
    fs,
    io::Write as _,
    net::SocketAddr,
    path::Path,
    process::{Command, Stdio},
};

use kelvin_telemetry::Telemetry;
use kelvin_testing::{Process, eventually_ok, free_port, is_installed};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use support::{Files, TestServer, reading};

/// A server that has answered a call, and what measures it until it is dropped.
async fn called_server() -> (TestServer, Telemetry) {
    let telemetry = Telemetry::builder("kelvin-server", "test").prometheus(true).build().unwrap();
    let server =
        TestServer::start_observed(Files::new(), &[("KELVIN_RPC_METRICS", "true")], &telemetry).await;
    server.client().await.send_single_reading(reading("cellar", 20.0, 1)).await.unwrap();
    (server, telemetry)
}

async fn get(address: SocketAddr, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned())
}

#[tokio::test]
async fn scraped_text_is_what_promtool_accepts() {
    let (server, _telemetry) = called_server().await;
    let text = get(server.health, "/metrics").await.unwrap();
    for series in [
        r#"grpc_server_call_started_total{grpc_method="SensorService/SendSingleReading""#,
        "rpc_server_call_duration_seconds_count{",
        r#"grpc_server_tls_handshakes_total{grpc_tls_handshake_result="SUCCESS""#,
        "target_info{",
    ] {
        assert!(text.contains(series), "no {series} in {text}");
    }
    let limit = text.lines().find(|line| line.starts_with("kelvin_connections_limit{"));
    assert!(limit.is_some_and(|line| line.ends_with(" 10000")), "{limit:?}");
    if !is_installed("promtool", "--version") {
        return;
    }
    let mut promtool = Command::new("promtool");
    promtool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut promtool = Process::new(promtool.spawn().unwrap());
    promtool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    // 3: only lints, which are about names, and those are OpenTelemetry's.
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(matches!(output.status.code(), Some(0 | 3)), "{}: {error}", output.status);
}

#[tokio::test]
async fn prometheus_scrapes_the_server() {
    if !is_installed("prometheus", "--version") {
        return;
    }
    let (server, _telemetry) = called_server().await;
    let folder = tempfile::TempDir::new().unwrap();
    let (address, _prometheus) = start(folder.path(), server.health);

    let query = "/api/v1/query?query=grpc_server_call_started_total%7Bjob%3D%22kelvin%22%7D";
    eventually_ok("the series is scraped", async || {
        let answer = get(address, query).await.unwrap_or_default();
        if answer.contains(r#""grpc_method":"SensorService/SendSingleReading""#) {
            return Ok(());
        }
        Err((answer, get(address, "/api/v1/targets").await))
    })
    .await;
    let targets = get(address, "/api/v1/targets").await.unwrap();
    assert!(targets.contains(r#""lastError":"""#) && targets.contains(r#""health":"up""#), "{targets}");
}

fn start(folder: &Path, target: SocketAddr) -> (SocketAddr, Process) {
    let config = folder.join("prometheus.yaml");
    let scrape =
        "scrape_configs: [{job_name: kelvin, scrape_interval: 1s, static_configs: [{targets: [TARGET]}]}]";
    fs::write(&config, scrape.replace("TARGET", &format!("{:?}", target.to_string()))).unwrap();
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let prometheus = Command::new("prometheus")
        .arg(format!("--config.file={}", config.display()))
        .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
        .arg(format!("--web.listen-address={address}"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    (address, Process::new(prometheus))
}
