//! What Prometheus makes of `/metrics`. Its programs are asked where they are installed.

mod support;

use std::{fs, io::ErrorKind, net::SocketAddr, path::Path, process::Stdio, time::Duration};

use kelvin_telemetry::Telemetry;
use kelvin_testing::not_run;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    process::{Child, Command},
};

use support::{Files, PATIENCE, TestServer, reading};

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

/// None, and a line, where the program is not installed.
fn installed(program: &str, checks: &str) -> Option<Command> {
    let mut probe = std::process::Command::new(program);
    match probe.arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status() {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => {
            not_run(program, &format!("{program} is not installed: {checks}"));
            return None;
        }
        Err(error) => panic!("{program}: {error}"),
    }
    let mut command = Command::new(program);
    command.kill_on_drop(true);
    Some(command)
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
    let Some(mut promtool) = installed("promtool", "the text format of /metrics") else { return };
    promtool.args(["check", "metrics"]);
    let mut child =
        promtool.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(text.as_bytes()).await.unwrap();
    drop(stdin);
    let output = child.wait_with_output().await.unwrap();
    // 3: only lints, which are about names, and those are OpenTelemetry's.
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(matches!(output.status.code(), Some(0 | 3)), "{}: {error}", output.status);
}

#[tokio::test]
async fn prometheus_scrapes_the_server() {
    let Some(prometheus) = installed("prometheus", "a scrape of /metrics") else { return };
    let (server, _telemetry) = called_server().await;
    let folder = tempfile::TempDir::new().unwrap();
    let (address, _prometheus) = start(prometheus, folder.path(), server.health).await;

    let query = "/api/v1/query?query=grpc_server_call_started_total%7Bjob%3D%22kelvin%22%7D";
    let deadline = tokio::time::Instant::now() + 2 * PATIENCE;
    loop {
        let answer = get(address, query).await.unwrap_or_default();
        if answer.contains(r#""grpc_method":"SensorService/SendSingleReading""#) {
            break;
        }
        let targets = get(address, "/api/v1/targets").await;
        assert!(tokio::time::Instant::now() < deadline, "{answer} {targets:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let targets = get(address, "/api/v1/targets").await.unwrap();
    assert!(targets.contains(r#""lastError":"""#) && targets.contains(r#""health":"up""#), "{targets}");
}

async fn start(mut prometheus: Command, folder: &Path, target: SocketAddr) -> (SocketAddr, Child) {
    let config = folder.join("prometheus.yaml");
    let scrape =
        "scrape_configs: [{job_name: kelvin, scrape_interval: 1s, static_configs: [{targets: [TARGET]}]}]";
    fs::write(&config, scrape.replace("TARGET", &format!("{:?}", target.to_string()))).unwrap();
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let child = prometheus
        .arg(format!("--config.file={}", config.display()))
        .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
        .arg(format!("--web.listen-address={free}"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    (free, child)
}
