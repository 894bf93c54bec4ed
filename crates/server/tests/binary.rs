//! The program: arguments, settings, exit codes, signals.

mod support;

use std::{
    fs::{self, File},
    net::{TcpListener, TcpStream},
    process::{ChildStdout, Command, Output, Stdio},
    thread,
    time::{Duration, SystemTime},
};

use kelvin_app::signal::SECOND_SIGNAL;
use kelvin_credentials::ca::Usage;
use kelvin_telemetry::receiver::{
    Receiver,
    proto::metrics::v1::{metric::Data, number_data_point::Value},
};
use kelvin_testing::{Lines, Process, eventually, eventually_some};
use support::{Files, TOKEN, client, connect, reading, until_stored};

fn program(settings: impl IntoIterator<Item = (String, String)>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kelvin-server"));
    command.env_clear().envs(settings).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn run(settings: impl IntoIterator<Item = (String, String)>, arguments: &[&str]) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } = program(settings).args(arguments).output().unwrap();
    (status.code(), String::from_utf8([stdout, stderr].concat()).unwrap())
}

fn with(files: &Files, extra: &[(&str, &str)]) -> Vec<(String, String)> {
    let extra = extra.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let mut settings = files.settings();
    settings.retain(|(name, _)| extra.clone().all(|(other, _)| *name != other));
    settings.extend(extra);
    settings
}

#[test]
fn wrong_settings_are_all_named_and_nothing_is_bound() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    // Binding would fail and be reported first.
    let wrong = [
        ("KELVIN_LISTEN", address.as_str()),
        ("KELVIN_MAX_SENSORS", "many"),
        ("KELVIN_MTLS", "perhaps"),
        ("KELVIN_MAX_STREAM_AGE", "-1s"),
    ];
    let (code, output) = run(with(&Files::new(), &wrong), &[]);
    assert_eq!(code, Some(64), "{output}");
    for (variable, _) in &wrong[1..] {
        assert!(output.contains(variable), "{output}");
    }
    assert!(!output.contains("KELVIN_LISTEN"), "{output}");
}

#[test]
fn files_that_cannot_be_used_are_wrong_settings() {
    let files = Files::new();
    let nowhere = files.path("nowhere").display().to_string();
    let valkey = [("KELVIN_STORE", "valkey"), ("KELVIN_VALKEY_ADDRESS", "127.0.0.1:1")];
    let wrong = [
        "KELVIN_TLS_CERT",
        "KELVIN_TLS_KEY",
        "KELVIN_TLS_CLIENT_CA",
        "KELVIN_TLS_EXTERNAL_CERT",
        "KELVIN_TLS_EXTERNAL_KEY",
        "KELVIN_TOKEN_FILE",
        "KELVIN_VALKEY_PASSWORD_FILE",
        "KELVIN_VALKEY_TLS_CA",
        "KELVIN_VALKEY_TLS_CERT",
        "KELVIN_VALKEY_TLS_KEY",
    ];
    let settings = wrong.map(|variable| (variable, nowhere.as_str()));
    let settings = [&settings[..], &valkey, &[("KELVIN_MTLS", "required")]].concat();
    let (code, output) = run(with(&files, &settings), &[]);
    assert_eq!(code, Some(64), "{output}");
    for variable in wrong {
        assert!(output.contains(&format!("{variable}: {nowhere}: cannot be read")), "{variable}: {output}");
    }
}

#[test]
fn invalid_settings_and_unreadable_files_are_all_reported() {
    let files = Files::new();
    let nowhere = files.path("nowhere").display().to_string();
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector://localhost:4317");
    let certificate = ("OTEL_EXPORTER_OTLP_CERTIFICATE", nowhere.as_str());
    let token_file = ("KELVIN_TOKEN_FILE", nowhere.as_str());
    let number = ("KELVIN_MAX_SENSORS", "many");
    for wrong in [
        [number, endpoint],
        [number, token_file],
        [number, certificate],
        [token_file, endpoint],
        [token_file, certificate],
    ] {
        let collector = ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://localhost:4317");
        let (code, output) = run(with(&files, &[&[collector][..], &wrong].concat()), &[]);
        assert_eq!(code, Some(64), "{output}");
        assert_eq!(output.matches("invalid configuration").count(), 1, "{output}");
        for (variable, _) in wrong {
            let reported = output.lines().filter(|line| line.trim().starts_with(variable));
            assert_eq!(reported.count(), 1, "{variable} in {output}");
        }
    }
}

#[test]
fn invalid_settings_are_reported_without_waiting_for_a_pipe() {
    let files = Files::new();
    let pipe = files.path("pipe").display().to_string();
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let wrong = [("KELVIN_MAX_SENSORS", "many"), ("KELVIN_TOKEN_FILE", pipe.as_str())];
    let (code, output) = run(with(&files, &wrong), &[]);
    assert_eq!(code, Some(64), "{output}");
    assert!(output.contains("KELVIN_MAX_SENSORS") && !output.contains("KELVIN_TOKEN_FILE"), "{output}");
}

#[test]
fn port_in_use_is_reported_with_what_to_do() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (code, output) = run(with(&Files::new(), &[("KELVIN_LISTEN", &address)]), &[]);
    assert_eq!(code, Some(1), "{output}");
    assert!(output.contains(&address) && output.contains("choose another port"), "{output}");
}

#[test]
fn expired_certificate_is_reported_with_its_dates() {
    let files = Files::new();
    let day = Duration::from_hours(24);
    let past = SystemTime::now() - 2 * day..SystemTime::now() - day;
    let pair = files.ca.issue_valid(Usage::Server, &["localhost"], &past).unwrap();
    pair.write(&files.path("server.pem"), &files.path("server.key")).unwrap();
    let (code, output) = run(files.settings(), &[]);
    assert_eq!(code, Some(64), "{output}");
    assert!(output.contains("KELVIN_TLS_CERT") && output.contains("not valid now, only from"), "{output}");
}

#[test]
fn help_lists_every_setting() {
    let (code, output) = run([], &["--help"]);
    assert_eq!(code, Some(0));
    for setting in kelvin_server::Config::SETTINGS {
        assert!(output.contains(setting.variable), "{}", setting.variable);
    }
}

/// The address in the line that says that it serves.
fn serving_at(log: &str) -> Option<String> {
    let (_, line) = log.split_once("\"serving\",\"address\":\"")?;
    Some(line.split_once('"')?.0.to_owned())
}

/// The program while it serves.
struct Running {
    process: Process,
    log: Lines<ChildStdout>,
    address: String,
    /// What it logged before it served.
    begun: String,
}

impl Running {
    fn start(settings: impl IntoIterator<Item = (String, String)>) -> Self {
        Self::of(&mut program(settings))
    }

    fn of(command: &mut Command) -> Self {
        let process = command.stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap();
        let mut process = Process::new(process);
        let mut log = process.lines();
        let begun = log.until("\"serving\"");
        let address = serving_at(&begun).unwrap();
        Self { process, log, address, begun }
    }
}

#[test]
fn server_is_healthy_and_exits_cleanly_on_sigterm() {
    let files = Files::new();
    let mut server = Running::start(files.settings());
    let settings = with(&files, &[("KELVIN_LISTEN", &server.address)]);
    let (code, output) = run(settings.clone(), &["healthcheck"]);
    assert_eq!((code, output.as_str()), (Some(0), ""));
    server.process.signal("TERM");
    server.log.until("\"drained\"");
    assert_eq!(server.process.wait().unwrap().code(), Some(0));
    let (code, output) = run(settings, &["healthcheck"]);
    assert_eq!(code, Some(1));
    assert!(output.contains("no healthy server"), "{output}");
}

#[test]
fn certificate_that_expires_in_use_is_logged() {
    let files = Files::new();
    let soon = Duration::from_secs(4);
    let valid = SystemTime::now() - soon..SystemTime::now() + soon;
    let pair = files.ca.issue_valid(Usage::Server, &["localhost"], &valid).unwrap();
    pair.write(&files.path("server.pem"), &files.path("server.key")).unwrap();
    Running::start(files.settings()).log.until("certificate expired; peers reject it");
}

#[test]
fn second_sigterm_interrupts_drain() {
    let files = Files::new();
    let mut server = Running::start(with(&files, &[("KELVIN_DRAIN_DELAY", "1h")]));
    server.process.signal("TERM");
    server.log.until("\"draining\"");
    thread::sleep(SECOND_SIGNAL * 3 / 2);
    server.process.signal("TERM");
    assert_eq!(server.process.wait().unwrap().code(), Some(143));
}

#[test]
fn unknown_setting_is_logged() {
    let files = Files::new();
    let server = Running::start(with(&files, &[("KELVIN_LISTENN", "x")]));
    assert!(server.begun.contains("unknown setting"), "{}", server.begun);
    assert!(server.begun.contains("KELVIN_LISTENN"), "{}", server.begun);
}

#[test]
fn setting_without_effect_is_logged() {
    let settings =
        [("KELVIN_RPC_METRICS", "true"), ("KELVIN_SENSOR_METRICS", "1"), ("KELVIN_PROMETHEUS", "true")];
    let log = |settings: &[(&str, &str)]| Running::start(with(&Files::new(), settings)).begun.clone();
    let warned = |log: &str, variable| {
        log.split('}').any(|line| line.contains("has no effect") && line.contains(variable))
    };
    let begun = log(&[&settings[..], &[("OTEL_SDK_DISABLED", "true")]].concat());
    for (variable, _) in settings {
        assert!(warned(&begun, variable), "{begun}");
    }
    let begun = log(&settings);
    assert!(!begun.contains("has no effect"), "they are scraped: {begun}");
    for one in &settings[..2] {
        let begun = log(&[*one]);
        assert!(warned(&begun, one.0), "{begun}");
    }
}

#[test]
fn limit_on_open_files_is_raised_and_warned_of() {
    let files = Files::new();
    let start = |limits: &str, connections| {
        let settings = with(&files, &[("KELVIN_MAX_CONNECTIONS", connections)]);
        let script = format!("ulimit {limits}; exec \"$0\"");
        let mut shell = Command::new("sh");
        shell.args(["-c", &script, env!("CARGO_BIN_EXE_kelvin-server")]).env_clear().envs(settings);
        Running::of(&mut shell)
    };
    let warning = "limit on open files too low for KELVIN_MAX_CONNECTIONS=201";
    let server = start("-Sn 64; ulimit -Hn 300", "200");
    assert!(!server.begun.contains("too low"), "{}", server.begun);
    let limits = fs::read_to_string(format!("/proc/{}/limits", server.process.id())).unwrap();
    let open = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    assert_eq!(open.split_whitespace().nth(3), Some("300"), "{open}");
    let server = start("-n 300", "201");
    assert!(server.begun.contains(warning), "{}", server.begun);
}

#[tokio::test]
async fn unauthenticated_connections_yield_at_descriptor_limit() {
    const FILES: usize = 64;
    let files = Files::new();
    // None of them ends by itself while the test runs.
    let settings = with(&files, &[("KELVIN_HANDSHAKE_TIMEOUT", "10m"), ("KELVIN_WORKERS", "1")]);
    let script = format!("ulimit -n {FILES}; exec \"$0\"");
    let mut shell = Command::new("sh");
    shell.args(["-c", &script, env!("CARGO_BIN_EXE_kelvin-server")]).env_clear().envs(settings);
    let server = Running::of(&mut shell);
    let address = server.address.parse().unwrap();
    let _silent: Vec<_> = (0..FILES).map(|_| TcpStream::connect(address).unwrap()).collect();
    let channel = connect(address, files.client_tls(None)).await.unwrap();
    client(channel, TOKEN).send_single_reading(reading("cellar", 20.0, 1)).await.unwrap();
}

#[tokio::test]
async fn trace_log_contains_no_secrets() {
    let files = Files::new();
    let log = files.path("log");
    fs::write(files.path("tokens"), format!("{TOKEN} gateway-7\n")).unwrap();
    let mut settings = with(&files, &[("KELVIN_WORKERS", "1")]);
    settings.push(("RUST_LOG".to_owned(), "trace".to_owned()));
    let server = Process::new(program(settings).stdout(File::create(&log).unwrap()).spawn().unwrap());
    let read = || fs::read_to_string(&log).unwrap();
    let address = eventually_some("it serves", async || serving_at(&read())).await;
    let channel = connect(address.parse().unwrap(), files.client_tls(None)).await.unwrap();
    let wrong = "a-token-that-is-wrong";
    for (token, accepted) in [(TOKEN, true), (wrong, false)] {
        let call = client(channel.clone(), token).send_single_reading(reading("cellar", 20.0, 1)).await;
        assert_eq!(call.is_ok(), accepted);
    }
    // A caller that goes away in the middle of its stream.
    let (requests, receiver) = tokio::sync::mpsc::channel(1);
    let receiver = tokio_stream::wrappers::ReceiverStream::new(receiver);
    let (mut leaving, other) = (client(channel.clone(), TOKEN), client(channel, TOKEN));
    let call = tokio::spawn(async move { leaving.stream_sensor_readings(receiver).await });
    requests.send(reading("attic", 20.0, 1)).await.unwrap();
    until_stored(&other, "attic", 1).await;
    call.abort();
    eventually("the log names the caller of an aborted stream", async || {
        read().contains("\"caller\":\"gateway-7\"")
    })
    .await;
    drop(server);
    let log = read();
    assert!(log.contains("\"TRACE\"") && log.contains("unauthenticated calls refused"));
    let key = fs::read_to_string(files.path("server.key")).unwrap();
    for secret in [TOKEN, wrong, key.lines().nth(1).unwrap()] {
        let line = log.lines().find(|line| line.contains(secret));
        assert_eq!(line, None);
    }
}

/// Else the first failures would be the counters' first values, in which no rate sees an increase.
#[tokio::test(flavor = "multi_thread")]
async fn counters_are_exported_at_zero_before_the_first_interval() {
    let receiver = Receiver::start().await.unwrap();
    let endpoint = receiver.grpc_endpoint();
    let settings = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
        ("OTEL_METRIC_EXPORT_INTERVAL", "3600000"),
        ("OTEL_LOGS_EXPORTER", "none"),
    ];
    let _running = Running::start(with(&Files::new(), &settings));
    for name in ["kelvin.calls.unauthenticated", "kelvin.readings.accepted"] {
        receiver
            .until(name, |received| {
                let (_, metric) = received.metrics().find(|(_, metric)| metric.name == name)?;
                let Some(Data::Sum(sum)) = &metric.data else { panic!("{metric:?}") };
                assert!(
                    sum.data_points.iter().all(|point| point.value == Some(Value::AsInt(0))),
                    "{metric:?}"
                );
                Some(())
            })
            .await;
    }
}
