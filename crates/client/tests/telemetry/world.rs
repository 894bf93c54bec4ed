//! A server in this process, the four clients as programs, and a collector that hears them all.

use std::{
    fs,
    net::SocketAddr,
    process::{Command, Stdio},
    time::Duration,
};

use futures_util::{StreamExt as _, stream};
use kelvin_client::Channel;
use kelvin_credentials::ca::{LocalCa, Usage};
use kelvin_proto::{SensorReading, SensorStatsRequest};
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

use crate::seen::service;

/// The kinds of client, which are also their services' names, and the calls they make.
pub(crate) const RPCS: [(&str, &str); 4] = [
    ("unary", "SendSingleReading"),
    ("client-streaming", "StreamSensorReadings"),
    ("server-streaming", "GetSensorReadings"),
    ("bidi-streaming", "SensorChat"),
];
pub(crate) const SERVER: &str = "kelvin-server";
/// What authenticates them all.
pub(crate) const TOKEN: &str = "correct-horse-battery-staple";
/// The service of calls that the test makes.
pub(crate) const CALLER: &str = "caller";

/// Nothing here takes so long, unless it is broken.
const LIMIT: Duration = Duration::from_secs(30);

pub(crate) struct World {
    receiver: Receiver,
    folder: TempDir,
    server: Telemetry,
    address: SocketAddr,
    caller: Telemetry,
    clients: Vec<Process>,
    stop: oneshot::Sender<()>,
    done: JoinHandle<()>,
}

impl World {
    pub(crate) async fn start() -> Self {
        let receiver = Receiver::start().await.unwrap();
        let folder = files();
        let server = builder(SERVER, &receiver).init_logs().build().unwrap();
        let (address, stop, done) = serve(&folder, &server);
        let clients = RPCS.map(|(rpc, _)| client(rpc, &folder, address, &receiver)).into();
        let caller = builder(CALLER, &receiver).build().unwrap();
        Self { receiver, folder, server, address, caller, clients, stop, done }
    }

    /// Sends one reading in a stream, waits until it is stored and hangs up. Gives the trace of that call.
    pub(crate) async fn break_off_a_stream(&self) -> Vec<u8> {
        let variables = client_variables("unary", &self.folder, self.address);
        let config = kelvin_client::Config::from_pairs(variables).unwrap();
        let mut stub = Channel::open(&config, &self.caller).unwrap().client();
        let sensor_id = "broken-off".to_owned();
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
        let name = "Sent.SensorService.StreamSensorReadings";
        self.receiver
            .until("the call that was broken off", |received| {
                let mut spans = received.spans();
                let found = spans.find(|(resource, span)| span.name == name && service(resource) == CALLER);
                found.map(|(_, span)| span.trace_id.clone())
            })
            .await
    }

    pub(crate) async fn until_every_client_was_served_twice(&self) {
        for (rpc, method) in RPCS {
            let name = format!("Sent.SensorService.{method}");
            self.receiver
                .until(&format!("two calls by {rpc}"), |received| {
                    let calls = received.spans().filter(|(resource, span)| {
                        let well =
                            span.status.as_ref().is_none_or(|status| status.code() != StatusCode::Error);
                        span.name == name && well && service(resource) == rpc
                    });
                    (calls.count() >= 2).then_some(())
                })
                .await;
        }
    }

    /// Ends all, clients first, and gives what the collector heard.
    pub(crate) async fn stop(self) -> Receiver {
        for mut client in self.clients {
            client.signal("TERM");
            let status = client.exit_status().await;
            assert!(status.success(), "{status}");
        }
        // What is held is measured only while there is a server that holds it.
        let metrics = self.server.meter_provider();
        spawn_blocking(move || metrics.force_flush()).await.unwrap().unwrap();
        self.stop.send(()).unwrap();
        timeout(LIMIT, self.done).await.expect("the server drains").unwrap();
        self.caller.shutdown(LIMIT).await;
        self.server.shutdown(LIMIT).await;
        self.receiver
    }
}

/// A CA, a certificate for the server and one for clients, and a token for both.
fn files() -> TempDir {
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name);
    let ca = LocalCa::generate().unwrap();
    fs::write(path("ca.pem"), ca.pem()).unwrap();
    fs::write(path("token"), TOKEN).unwrap();
    for (name, usage) in [("server", Usage::Server), ("client", Usage::Client)] {
        let pair = ca.issue(usage, &["localhost"]).unwrap();
        pair.write(&path(&format!("{name}.pem")), &path(&format!("{name}-key.pem"))).unwrap();
    }
    folder
}

fn builder(service: &'static str, receiver: &Receiver) -> Builder {
    let builder = Telemetry::builder(service, env!("CARGO_PKG_VERSION"));
    builder.variable("OTEL_EXPORTER_OTLP_ENDPOINT", &receiver.grpc_endpoint())
}

fn serve(folder: &TempDir, telemetry: &Telemetry) -> (SocketAddr, oneshot::Sender<()>, JoinHandle<()>) {
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
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

fn client(rpc: &str, folder: &TempDir, server: SocketAddr, receiver: &Receiver) -> Process {
    let client = Command::new(env!("CARGO_BIN_EXE_kelvin-client"))
        .env_clear()
        .envs(client_variables(rpc, folder, server))
        .env("OTEL_SERVICE_NAME", rpc)
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.grpc_endpoint())
        .env("OTEL_BSP_SCHEDULE_DELAY", "100")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn();
    Process::new(client.unwrap())
}

fn client_variables(rpc: &str, folder: &TempDir, server: SocketAddr) -> [(&'static str, String); 10] {
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    [
        ("KELVIN_CLIENT_RPC", rpc.into()),
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
