//! The program, as it is run by hand and in a pod.

use std::{
    net::TcpListener,
    process::{Command, Output, Stdio},
};

use kelvin_proto::CallType;
use kelvin_testing::{Process, eventually};

use crate::setup::Setup;

fn program() -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_kelvin-client"));
    program.env_clear();
    program
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn all_invalid_settings_are_reported() {
    let Output { status, stderr, .. } = program()
        .envs([("KELVIN_CLIENT_RPC", "chat"), ("KELVIN_SERVER", "kelvin"), ("KELVIN_DEADLINE", "soon")])
        .output()
        .unwrap();
    let stderr = text(&stderr);
    assert_eq!(status.code(), Some(64), "{stderr}");
    for variable in ["KELVIN_CLIENT_RPC", "KELVIN_SERVER", "KELVIN_DEADLINE"] {
        let reported = stderr.lines().filter(|line| line.trim().starts_with(variable));
        assert_eq!(reported.count(), 1, "{variable} in {stderr}");
    }
}

#[test]
fn unusable_files_are_invalid_settings() {
    let nowhere = [
        ("KELVIN_TLS_CA", "/nowhere/ca.pem"),
        ("KELVIN_TLS_CERT", "/nowhere/cert.pem"),
        ("KELVIN_TLS_KEY", "/nowhere/key.pem"),
        ("KELVIN_TOKEN_FILE", "/nowhere/token"),
    ];
    let Output { status, stderr, .. } = program().envs(nowhere).output().unwrap();
    let stderr = text(&stderr);
    assert_eq!(status.code(), Some(64), "{stderr}");
    for (variable, path) in nowhere {
        assert!(stderr.lines().any(|line| line.contains(variable) && line.contains(path)), "{stderr}");
    }
}

#[test]
fn unusable_exporter_files_are_invalid_settings() {
    let files = [
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/nowhere/ca.pem"),
        ("OTEL_EXPORTER_OTLP_LOGS_CLIENT_CERTIFICATE", "/nowhere/cert.pem"),
    ];
    for protocol in ["grpc", "http/protobuf"] {
        let Output { status, stderr, .. } = program()
            .envs(files)
            .env("OTEL_EXPORTER_OTLP_LOGS_CLIENT_KEY", "/nowhere/key.pem")
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", "https://localhost:4317")
            .env("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
            .output()
            .unwrap();
        let stderr = text(&stderr);
        assert_eq!(status.code(), Some(64), "{stderr}");
        for (variable, path) in files {
            assert!(stderr.lines().any(|line| line.contains(variable) && line.contains(path)), "{stderr}");
        }
    }
}

#[test]
fn invalid_kelvin_and_otel_settings_are_reported_together() {
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector://localhost:4317");
    let certificate = ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/nowhere/otel.pem");
    let token_file = ("KELVIN_TOKEN_FILE", "/nowhere/token");
    for wrong in [[("KELVIN_DEADLINE", "soon"), endpoint], [token_file, endpoint], [token_file, certificate]]
    {
        let Output { status, stderr, .. } = program()
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", "https://localhost:4317")
            .envs(wrong)
            .output()
            .unwrap();
        let stderr = text(&stderr);
        assert_eq!(status.code(), Some(64), "{stderr}");
        assert_eq!(stderr.matches("invalid configuration").count(), 1, "{stderr}");
        for (variable, _) in wrong {
            let reported = stderr.lines().filter(|line| line.trim().starts_with(variable));
            assert_eq!(reported.count(), 1, "{variable} in {stderr}");
        }
    }
}

#[test]
fn help_lists_the_settings() {
    let Output { status, stdout, .. } = program().arg("--help").output().unwrap();
    assert!(status.success());
    assert!(text(&stdout).contains("KELVIN_STREAM_DURATION=1m"), "{}", text(&stdout));
}

#[tokio::test]
async fn check_makes_all_calls_and_one_without_credentials() {
    let setup = Setup::new();
    let server = setup.server(&[]);
    let check = |token: &str| {
        setup.write("client-token", token);
        let mut check = program();
        check.arg("check").envs(setup.variables(CallType::Unary, server.address, &[]));
        tokio::task::spawn_blocking(move || check.output().unwrap())
    };
    let Output { status, stdout, stderr } = check("the-token").await.unwrap();
    let lines = text(&stdout).lines().filter(|line| line.starts_with("ok  ")).count();
    assert_eq!((status.code(), lines), (Some(0), 4), "{}{}", text(&stdout), text(&stderr));

    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    for (stdout, code) in [(Stdio::from(full), 1), (Stdio::piped(), 0)] {
        let mut check = program();
        check.arg("check").envs(setup.variables(CallType::Unary, server.address, &[]));
        let mut check = Process::new(check.stdout(stdout).stderr(Stdio::piped()).spawn().unwrap());
        drop(check.stdout.take());
        let ended = tokio::task::spawn_blocking(move || check.wait_with_output().unwrap());
        let Output { status, stderr, .. } = ended.await.unwrap();
        assert_eq!(status.code(), Some(code), "{}", text(&stderr));
        assert!(!text(&stderr).contains("panicked"), "{}", text(&stderr));
    }

    let Output { status, stdout, .. } = check("another-token").await.unwrap();
    let failed = text(&stdout).lines().filter(|line| line.starts_with("FAILED  ")).count();
    assert_eq!((status.code(), failed), (Some(1), 3), "{}", text(&stdout));
    server.stop().await;
}

#[test]
fn check_ends_at_a_signal() {
    // Accepts connections and answers nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = format!("http://{}", silent.local_addr().unwrap());
    let mut check = program();
    check.arg("check").envs([("KELVIN_SERVER", server.as_str()), ("KELVIN_DEADLINE", "1h")]);
    let mut check = Process::new(check.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
    check.lines().until("in the clear");
    check.signal("TERM");
    let Output { status, stderr, .. } = check.wait_with_output().unwrap();
    assert_eq!((status.code(), text(&stderr).as_str()), (Some(1), "kelvin-client: interrupted\n"));
}

#[test]
fn healthcheck_without_health_port_exits_64() {
    let Output { status, stderr, .. } = program().arg("healthcheck").output().unwrap();
    assert_eq!(status.code(), Some(64), "{}", text(&stderr));
    assert!(text(&stderr).contains("KELVIN_HEALTH_LISTEN"), "{}", text(&stderr));
}

#[tokio::test]
async fn healthcheck_succeeds_and_sigterm_exits_with_zero() {
    let setup = Setup::new();
    let server = setup.server(&[]);
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let health = format!("127.0.0.1:{port}");
    let variables =
        setup.variables(CallType::BidiStreaming, server.address, &[("KELVIN_HEALTH_LISTEN", &health)]);
    let healthy = || {
        let status = program().arg("healthcheck").envs(variables.clone()).stderr(Stdio::null()).status();
        status.unwrap().success()
    };
    assert!(!healthy());
    let client = program().envs(variables.clone()).stdout(Stdio::null()).spawn();
    let mut client = Process::new(client.unwrap());
    eventually("it is healthy", async || healthy()).await;

    client.signal("TERM");
    assert_eq!(client.exit_status().await.code(), Some(0));
    assert!(!healthy());
    let (stored, _) = setup.stored(server.address).await;
    assert!(stored > 0);
    server.stop().await;
}
