//! `kelvin load` against the real server.

use std::{
    net::TcpListener,
    path::PathBuf,
    process::{Command, Output, Stdio},
    thread::{self, JoinHandle},
};

use kelvin_client::Channel;
use kelvin_credentials::ca::LocalCa;
use kelvin_proto::{CallType, ListSensorsRequest};
use kelvin_server::Server;
use kelvin_telemetry::Telemetry;
use kelvin_testing::{Lines, Process};
use serde_json::Value;
use tempfile::TempDir;
use tokio::{runtime, sync::oneshot};

/// A server over TLS, with certificates of `kelvin certs`, that requires a token.
struct TestServer {
    dir: TempDir,
    address: String,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl TestServer {
    fn start() -> Self {
        Self::start_with(&[])
    }

    fn start_with(settings: &[(&str, String)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let mut certs = Command::new(env!("CARGO_BIN_EXE_kelvin"));
        certs.args(["certs", "--names", "localhost"]).arg(dir.path()).stdout(Stdio::null());
        assert!(certs.status().unwrap().success());
        for (name, text) in [("token", "secret"), ("wrong", "other")] {
            std::fs::write(path(name), text).unwrap();
        }
        let file = |name: &str| path(name).display().to_string();
        let own = [
            ("KELVIN_LISTEN", "127.0.0.1:0".to_owned()),
            ("KELVIN_HEALTH_LISTEN", "127.0.0.1:0".to_owned()),
            ("KELVIN_TLS_CERT", file("server.crt")),
            ("KELVIN_TLS_KEY", file("server.key")),
            ("KELVIN_TOKEN_FILE", file("token")),
            ("KELVIN_DRAIN_DELAY", "0s".to_owned()),
        ];
        let config =
            kelvin_server::Config::from_pairs(own.into_iter().chain(settings.iter().cloned())).unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let (ready, started) = std::sync::mpsc::channel();
        let thread = thread::spawn(move || {
            runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
                let server = Server::build(config, &telemetry()).unwrap();
                ready.send(server.local_addr()).unwrap();
                let shutdown = async {
                    let _ = stopped.await;
                };
                server.run(shutdown).await.unwrap();
            });
        });
        let address = format!("localhost:{}", started.recv().unwrap().port());
        Self { dir, address, stop, thread }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn load(&self, token: &str, arguments: &[&str]) -> Command {
        let mut command = load(&self.address, arguments);
        command.arg("--ca").arg(self.path("ca.crt")).arg("--token-file").arg(self.path(token));
        command
    }

    /// How many readings the server has stored.
    fn stored(&self) -> u64 {
        let file = |name| self.path(name).display().to_string();
        let config = kelvin_client::Config::from_pairs([
            ("KELVIN_SERVER", format!("https://{}", self.address)),
            ("KELVIN_TLS_CA", file("ca.crt")),
            ("KELVIN_TOKEN_FILE", file("token")),
        ])
        .unwrap();
        runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
            let channel = Channel::open(&config, &telemetry()).unwrap();
            let listed = channel.client().list_sensors(ListSensorsRequest::default()).await.unwrap();
            listed.into_inner().sensors.iter().map(|sensor| sensor.count).sum()
        })
    }

    fn stop(self) {
        self.stop.send(()).unwrap();
        self.thread.join().unwrap();
    }
}

fn telemetry() -> Telemetry {
    Telemetry::builder("test", "0").build().unwrap()
}

fn load(address: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kelvin"));
    command.args(["load", "--address", address]).args(arguments);
    command
}

fn json(output: &Output) -> Value {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    serde_json::from_slice(&output.stdout).expect("nothing but JSON")
}

/// Returns the error of a load test that cannot start.
fn error_message(command: &mut Command) -> String {
    error_message_with_code(1, command)
}

fn error_message_with_code(code: i32, command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(code));
    assert!(output.stdout.is_empty());
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn no_reading_is_counted_twice_or_lost() {
    let server = TestServer::start();
    let shape =
        ["--warm-up", "0s", "--duration", "1s", "--connections", "2", "--streams", "8", "--sensors", "10"];
    let output = server.load("token", &shape).arg("--json").output().unwrap();
    let report = json(&output);
    let unary = &report["rpc"]["unary"];
    assert_eq!(unary["errors"].as_object().unwrap().len(), 0, "{report}");
    assert_eq!(report["unfinished"], 0);
    let (counted, stored) = (unary["readings"].as_u64().unwrap(), server.stored());
    assert_eq!(unary["calls"], counted);
    // One call before the start, and at most one on each stream that ended after the time was over.
    assert!((counted + 1..=counted + 1 + 2 * 8).contains(&stored), "{counted} counted, {stored} stored");
    server.stop();
}

#[test]
fn all_types_of_call_work_in_one_run() {
    let server = TestServer::start();
    let shape =
        ["--rpc", "mixed", "--warm-up", "100ms", "--duration", "1s", "--sensors", "5", "--messages", "100"];
    for frames in [&[][..], &["--one-message-per-frame"]] {
        let report = json(&server.load("token", &shape).args(frames).arg("--json").output().unwrap());
        for kind in CallType::ALL {
            let stats = &report["rpc"][kind.key()];
            let number = |name: &str| stats[name].as_f64().unwrap();
            assert!(number("calls") > 0.0, "{kind} in {report}");
            assert_eq!(stats["errors"].as_object().unwrap().len(), 0, "{kind} in {report}");
            assert!(0.0 < number("p50_ms") && number("p50_ms") <= number("p99_9_ms"), "{kind} in {report}");
            if kind == CallType::ServerStreaming {
                assert_eq!(stats["readings"], stats["calls"].as_u64().unwrap() * 100, "{report}");
            }
        }
    }
    server.stop();
}

#[test]
fn server_on_valkey_stores_what_is_counted() {
    let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let valkey = runtime.block_on(kelvin_testing::ValkeyServer::start(&[]));
    let on_valkey = [("KELVIN_STORE", "valkey".to_owned()), ("KELVIN_VALKEY_ADDRESS", valkey.address())];
    let server = TestServer::start_with(&on_valkey);
    let shape = ["--rpc", "client-streaming", "--warm-up", "0s", "--duration", "1s", "--sensors", "10"];
    let report = json(&server.load("token", &shape).args(["--messages", "100", "--json"]).output().unwrap());
    let stats = &report["rpc"]["client_streaming"];
    assert_eq!(stats["errors"].as_object().unwrap().len(), 0, "{report}");
    let (counted, stored) = (stats["readings"].as_u64().unwrap(), server.stored());
    assert!(counted > 0 && stored >= counted, "{counted} counted, {stored} stored");
    server.stop();
    let streams: Vec<String> = runtime.block_on(valkey.query(&["KEYS", "*:d:*"])).unwrap();
    assert_eq!(streams.len(), 10, "they are on Valkey: {streams:?}");
}

#[test]
fn lost_server_is_counted_as_unavailable() {
    let server = TestServer::start();
    let mut load = server.load("token", &["--warm-up", "0s", "--duration", "3s", "--json"]);
    let mut load = Process::new(load.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
    let mut progress = Lines::new(load.stderr.take().unwrap());
    progress.until("calls/s");
    server.stop();
    progress.for_each(drop);
    let report = json(&load.wait_with_output().unwrap());
    assert!(report["rpc"]["unary"]["errors"]["UNAVAILABLE"].as_u64().unwrap() > 0, "{report}");
}

#[test]
fn start_failure_is_reported_with_what_to_do() {
    let server = TestServer::start();
    let wrong_token = error_message(&mut server.load("wrong", &[]));
    assert!(wrong_token.contains("UNAUTHENTICATED") && wrong_token.contains("--token-file"), "{wrong_token}");

    let other = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&other, LocalCa::generate().unwrap().pem()).unwrap();
    let wrong_ca = error_message(load(&server.address, &[]).arg("--ca").arg(other.path()));
    assert!(wrong_ca.contains("certificate") && wrong_ca.contains("--ca"), "{wrong_ca}");

    let no_tls = error_message(&mut load(&server.address, &["--plaintext"]));
    assert!(no_tls.contains("needs --ca"), "{no_tls}");
    server.stop();

    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    for address in ["::1:50051", "localhost", "localhost:0", "localhost:99999", "a b:1"] {
        let invalid = error_message_with_code(64, &mut load(address, &["--plaintext"]));
        assert!(invalid.contains("expected host:port"), "{address}: {invalid}");
    }
    let unreachable = error_message(&mut load(&nobody, &["--plaintext"]));
    assert!(unreachable.contains(&nobody) && unreachable.contains("is the server running"), "{unreachable}");
}
