//! A server in this process, the four clients as programs, and an OTLP receiver for the telemetry of all.

use std::{
    fs,
    net::SocketAddr,
    process::{Command, Stdio},
    time::Duration,
};

use futures_util::{StreamExt as _, stream};
use kelvin_client::Channel;
use kelvin_credentials::ca::{LocalCa, Usage};
use kelvin_proto::{CallType, SensorReading, SensorStatsRequest};
use kelvin_server::Server;
use kelvin_telemetry::{
    Builder, Telemetry,
    receiver::{Receiver, proto::trace::v1::status::StatusCode},
};
use kelvin_testing::{Process, eventually_ok};
use tempfile::TempDir;
use tokio::{
    sync::oneshot,
    task::{JoinHandle, spawn_blocking},
    time::timeout,
};

use crate::exported::service;

pub(crate) const SERVER: &str = "kelvin-server";
/// The token of all of them.
pub(crate) const TOKEN: &str = "correct-horse-battery-staple";
/// The service name of calls that the test makes.
pub(crate) const CALLER: &str = "caller";

/// Nothing here takes so long, unless it is broken.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Returns the name of the span of a call of `rpc`, where `side` is `Sent`, `Attempt` or `Recv` (gRFC A72).
pub(crate) fn span_name(side: &str, rpc: CallType) -> String {
    format!("{side}.{}", rpc.method().replace('/', "."))
}

pub(crate) struct Setup {
    receiver: Receiver,
    dir: TempDir,
    server: Telemetry,
    address: SocketAddr,
    caller: Telemetry,
    clients: Vec<Process>,
    stop: oneshot::Sender<()>,
    done: JoinHandle<()>,
}

impl Setup {
    pub(crate) async fn start() -> Self {
        let receiver = Receiver::start().await.unwrap();
        let dir = files();
        let server = builder(SERVER, &receiver).init_logs().build().unwrap();
        let (address, stop, done) = serve(&dir, &server);
        let clients = CallType::ALL.map(|rpc| client(rpc, &dir, address, &receiver)).into();
        let caller = builder(CALLER, &receiver).build().unwrap();
        Self { receiver, dir, server, address, caller, clients, stop, done }
    }

    /// Sends one reading in a stream, waits until it is stored and resets the stream. Returns the trace id of that call.
    pub(crate) async fn abort_stream(&self) -> Vec<u8> {
        let variables = client_variables(CallType::Unary, &self.dir, self.address);
        let config = kelvin_client::Config::from_pairs(variables).unwrap();
        let mut stub = Channel::open(&config, &self.caller).unwrap().client();
        let sensor_id = "aborted".to_owned();
        let reading = SensorReading { sensor_id: sensor_id.clone(), temperature: 20.0, timestamp: 1 };
        let mut other = stub.clone();
        let readings = stream::iter([reading]).chain(stream::pending());
        let call = stub.stream_sensor_readings(readings);
        let stored = eventually_ok("the reading is stored", async || {
            other.get_sensor_stats(SensorStatsRequest { sensor_id: sensor_id.clone() }).await
        });
        tokio::select! {
            ended = call => panic!("the stream should go on: {ended:?}"),
            _ = stored => {}
        }
        let name = span_name("Sent", CallType::ClientStreaming);
        self.receiver
            .until("the aborted call", |received| {
                let mut spans = received.spans();
                let found = spans.find(|(resource, span)| span.name == name && service(resource) == CALLER);
                found.map(|(_, span)| span.trace_id.clone())
            })
            .await
    }

    pub(crate) async fn wait_for_two_calls_of_each_client(&self) {
        for rpc in CallType::ALL {
            let name = span_name("Sent", rpc);
            self.receiver
                .until(&format!("two calls by {rpc}"), |received| {
                    let calls = received.spans().filter(|(resource, span)| {
                        let succeeded =
                            span.status.as_ref().is_none_or(|status| status.code() != StatusCode::Error);
                        span.name == name && succeeded && service(resource) == rpc.name()
                    });
                    (calls.count() >= 2).then_some(())
                })
                .await;
        }
    }

    /// Stops all, clients first, and returns the receiver.
    pub(crate) async fn stop(self) -> Receiver {
        for mut client in self.clients {
            client.signal("TERM");
            let status = client.exit_status().await;
            assert!(status.success(), "{status}");
        }
        // The gauges of what is stored are observed only while the server runs.
        let metrics = self.server.meter_provider();
        spawn_blocking(move || metrics.force_flush()).await.unwrap().unwrap();
        self.stop.send(()).unwrap();
        timeout(TIMEOUT, self.done).await.expect("the server drains").unwrap();
        self.caller.shutdown(TIMEOUT).await;
        self.server.shutdown(TIMEOUT).await;
        self.receiver
    }
}

/// A CA, a certificate for the server and one for clients, and a token for both.
fn files() -> TempDir {
    let dir = TempDir::new().unwrap();
    let path = |name: &str| dir.path().join(name);
    let ca = LocalCa::generate().unwrap();
    fs::write(path("ca.pem"), ca.pem()).unwrap();
    fs::write(path("token"), TOKEN).unwrap();
    for (name, usage) in [("server", Usage::Server), ("client", Usage::Client)] {
        let pair = ca.issue(usage, &["localhost"]).unwrap();
        pair.write(&path(&format!("{name}.pem")), &path(&format!("{name}-key.pem"))).unwrap();
    }
    dir
}

fn builder(service: &'static str, receiver: &Receiver) -> Builder {
    let builder = Telemetry::builder(service, env!("CARGO_PKG_VERSION"));
    builder.variable("OTEL_EXPORTER_OTLP_ENDPOINT", &receiver.grpc_endpoint())
}

fn serve(dir: &TempDir, telemetry: &Telemetry) -> (SocketAddr, oneshot::Sender<()>, JoinHandle<()>) {
    let file = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let config = kelvin_server::Config::from_pairs([
        ("KELVIN_LISTEN", "127.0.0.1:0".into()),
        ("KELVIN_HEALTH_LISTEN", String::new()),
        ("KELVIN_WORKERS", "2".into()),
        ("KELVIN_TLS_CERT", file("server.pem")),
        ("KELVIN_TLS_KEY", file("server-key.pem")),
        ("KELVIN_TLS_CLIENT_CA", file("ca.pem")),
        ("KELVIN_MTLS", "required".into()),
        ("KELVIN_TOKEN_FILE", file("token")),
        ("KELVIN_DRAIN_DELAY", "0s".into()),
        ("KELVIN_DRAIN_TIMEOUT", "5s".into()),
    ])
    .unwrap();
    let server = Server::build(config, telemetry).unwrap();
    let address = server.local_addr();
    let (stop, stopped) = oneshot::channel();
    let run = server.run(async {
        let _ = stopped.await;
    });
    (address, stop, tokio::spawn(async { run.await.unwrap() }))
}

fn client(rpc: CallType, dir: &TempDir, server: SocketAddr, receiver: &Receiver) -> Process {
    let client = Command::new(env!("CARGO_BIN_EXE_kelvin-client"))
        .env_clear()
        .envs(client_variables(rpc, dir, server))
        .env("OTEL_SERVICE_NAME", rpc.name())
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.grpc_endpoint())
        .env("OTEL_BSP_SCHEDULE_DELAY", "100")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn();
    Process::new(client.unwrap())
}

fn client_variables(rpc: CallType, dir: &TempDir, server: SocketAddr) -> [(&'static str, String); 10] {
    let file = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    [
        ("KELVIN_CLIENT_RPC", rpc.to_string()),
        ("KELVIN_SERVER", format!("https://localhost:{}", server.port())),
        ("KELVIN_TLS_CA", file("ca.pem")),
        ("KELVIN_TLS_CERT", file("client.pem")),
        ("KELVIN_TLS_KEY", file("client-key.pem")),
        ("KELVIN_TOKEN_FILE", file("token")),
        ("KELVIN_INTERVAL_MIN", "20ms".into()),
        ("KELVIN_INTERVAL_MAX", "40ms".into()),
        ("KELVIN_STREAM_DURATION", "300ms".into()),
        ("KELVIN_DRAIN_TIMEOUT", "10s".into()),
    ]
}
