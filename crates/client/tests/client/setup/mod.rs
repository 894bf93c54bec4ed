//! Certificates, servers and clients for the tests.

pub(crate) mod logs;
pub(crate) mod proxy;

use std::{fs, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use kelvin_app::health::Health;
use kelvin_client::{Channel, Client, ClientError, Config};
use kelvin_credentials::ca::{LocalCa, Usage};
use kelvin_proto::{CallType, ListSensorsRequest};
use kelvin_server::{Server, ServerError};
use kelvin_telemetry::Telemetry;
use opentelemetry_sdk::metrics::{
    InMemoryMetricExporter, PeriodicReader,
    data::{AggregatedMetrics, MetricData, ResourceMetrics, ScopeMetrics, SumDataPoint},
};
use tempfile::TempDir;
use tokio::{sync::oneshot, task::JoinHandle, time::timeout};

/// The clients that send readings.
pub(crate) const SENDERS: [CallType; 3] =
    [CallType::Unary, CallType::ClientStreaming, CallType::BidiStreaming];

/// Nothing here takes so long, unless it is broken.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A directory with a CA, certificates for both sides, and a token.
pub(crate) struct Setup {
    dir: TempDir,
}

impl Setup {
    pub(crate) fn new() -> Self {
        let setup = Self { dir: TempDir::new().unwrap() };
        let ca = LocalCa::generate().unwrap();
        setup.write("ca.pem", &ca.pem());
        setup.issue(&ca);
        setup.write("tokens", "the-token\n");
        setup.write("client-token", "the-token\n");
        setup
    }

    /// Replaces the certificates with new ones of `ca`.
    pub(crate) fn issue(&self, ca: &LocalCa) {
        for (name, usage) in [("server", Usage::Server), ("client", Usage::Client)] {
            let pair = ca.issue(usage, &["localhost", "127.0.0.1"]).unwrap();
            pair.write(&self.path(&format!("{name}.pem")), &self.path(&format!("{name}-key.pem"))).unwrap();
        }
    }

    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.dir.path().join(file)
    }

    pub(crate) fn write(&self, file: &str, text: &str) {
        fs::write(self.path(file), text).unwrap();
    }

    fn text(&self, file: &str) -> String {
        self.path(file).to_str().unwrap().to_owned()
    }

    /// Starts a server with these settings on top of the usual ones.
    pub(crate) fn server(&self, settings: &[(&str, &str)]) -> TestServer {
        let files = [
            ("KELVIN_TLS_CERT", "server.pem"),
            ("KELVIN_TLS_KEY", "server-key.pem"),
            ("KELVIN_TOKEN_FILE", "tokens"),
        ];
        let others = [
            ("KELVIN_LISTEN", "127.0.0.1:0"),
            ("KELVIN_HEALTH_LISTEN", ""),
            ("KELVIN_WORKERS", "1"),
            ("KELVIN_RELOAD_INTERVAL", "50ms"),
            ("KELVIN_DRAIN_DELAY", "0s"),
            ("KELVIN_DRAIN_TIMEOUT", "1s"),
        ];
        let mtls = settings.iter().any(|(variable, _)| *variable == "KELVIN_MTLS");
        let ca = mtls.then_some(("KELVIN_TLS_CLIENT_CA", "ca.pem"));
        let files =
            files.into_iter().chain(ca).map(|(variable, file)| (variable.to_owned(), self.text(file)));
        let others =
            others.iter().chain(settings).map(|(variable, value)| ((*variable).into(), (*value).into()));
        let config = kelvin_server::Config::from_pairs(files.chain(others)).unwrap();
        TestServer::start(config)
    }

    /// The settings of a client of `rpc`, as variables, with further ones on top.
    pub(crate) fn variables(
        &self,
        rpc: CallType,
        server: SocketAddr,
        settings: &[(&str, &str)],
    ) -> Vec<(String, String)> {
        let own = [
            ("KELVIN_CLIENT_RPC", rpc.to_string()),
            ("KELVIN_SERVER", format!("https://localhost:{}", server.port())),
            ("KELVIN_TLS_CA", self.text("ca.pem")),
            ("KELVIN_TOKEN_FILE", self.text("client-token")),
            ("KELVIN_RELOAD_INTERVAL", "50ms".into()),
            ("KELVIN_INTERVAL_MIN", "2ms".into()),
            ("KELVIN_INTERVAL_MAX", "10ms".into()),
            ("KELVIN_STREAM_DURATION", "300ms".into()),
            ("KELVIN_DNS_REFRESH", "1s".into()),
            ("KELVIN_DEADLINE", "5s".into()),
        ];
        let settings = settings.iter().map(|(variable, value)| (*variable, (*value).to_owned()));
        own.into_iter().chain(settings).map(|(variable, value)| (variable.to_owned(), value)).collect()
    }

    pub(crate) fn config(&self, rpc: CallType, server: SocketAddr, settings: &[(&str, &str)]) -> Config {
        Config::from_pairs(self.variables(rpc, server, settings)).unwrap()
    }

    pub(crate) fn client(&self, rpc: CallType, server: SocketAddr, settings: &[(&str, &str)]) -> TestClient {
        TestClient::start(self.config(rpc, server, settings))
    }

    /// A stub for calls of the test's own.
    pub(crate) fn stub(&self, server: SocketAddr) -> Client {
        Channel::open(&self.config(CallType::Unary, server, &[]), &telemetry(None)).unwrap().client()
    }

    /// Returns the numbers of readings and of sensors that `server` has stored.
    pub(crate) async fn stored(&self, server: SocketAddr) -> (u64, u64) {
        let mut stub = self.stub(server);
        let (mut readings, mut sensors, mut page_token) = (0, 0, String::new());
        loop {
            let page = stub.list_sensors(ListSensorsRequest { page_size: 1000, page_token }).await.unwrap();
            let page = page.into_inner();
            sensors += page.sensors.len() as u64;
            readings += page.sensors.iter().map(|sensor| sensor.count).sum::<u64>();
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return (readings, sensors);
            }
        }
    }
}

/// A server in this process.
pub(crate) struct TestServer {
    pub(crate) address: SocketAddr,
    stop: oneshot::Sender<()>,
    done: JoinHandle<Result<(), ServerError>>,
}

impl TestServer {
    fn start(config: kelvin_server::Config) -> Self {
        let server = Server::build(config, &telemetry(None)).unwrap();
        let address = server.local_addr();
        let (stop, stopped) = oneshot::channel();
        let done = tokio::spawn(server.run(async {
            let _ = stopped.await;
        }));
        Self { address, stop, done }
    }

    pub(crate) async fn stop(self) {
        self.stop.send(()).unwrap();
        timeout(TIMEOUT, self.done).await.expect("the server drains").unwrap().unwrap();
    }
}

/// A client in this process, and what it counts.
pub(crate) struct TestClient {
    pub(crate) health: Health,
    telemetry: Arc<Telemetry>,
    exported: InMemoryMetricExporter,
    stop: Option<oneshot::Sender<()>>,
    done: JoinHandle<()>,
}

impl TestClient {
    pub(crate) fn start(config: Config) -> Self {
        Self::with_channel(config, Channel::open)
    }

    /// Starts a client over the channel that `open` opens.
    pub(crate) fn with_channel(
        config: Config,
        open: impl FnOnce(&Config, &Telemetry) -> Result<Channel, ClientError>,
    ) -> Self {
        let exported = InMemoryMetricExporter::default();
        let telemetry = Arc::new(telemetry(Some(exported.clone())));
        let channel = open(&config, &telemetry).unwrap();
        let health = Health::new();
        let (stop, stopped) = oneshot::channel();
        let done = tokio::spawn({
            let (telemetry, health) = (telemetry.clone(), health.clone());
            async move {
                let stopped = async {
                    let _ = stopped.await;
                };
                kelvin_client::run(config, channel, &telemetry, health, stopped).await;
            }
        });
        Self { health, telemetry, exported, stop: Some(stop), done }
    }

    /// The value of `kelvin.client.readings.{name}` at this moment.
    pub(crate) fn readings(&self, name: &str) -> u64 {
        self.sum(&format!("kelvin.client.readings.{name}"))
    }

    pub(crate) fn sum(&self, name: &str) -> u64 {
        self.exported.reset();
        self.telemetry.meter_provider().force_flush().unwrap();
        let exported = self.exported.get_finished_metrics().unwrap();
        let metrics =
            exported.iter().flat_map(ResourceMetrics::scope_metrics).flat_map(ScopeMetrics::metrics);
        metrics
            .filter(|metric| metric.name() == name)
            .map(|metric| match metric.data() {
                AggregatedMetrics::U64(MetricData::Sum(sum)) => {
                    sum.data_points().map(SumDataPoint::value).sum::<u64>()
                }
                other => panic!("{name} is no counter: {other:?}"),
            })
            .sum()
    }

    /// Shuts it down gracefully.
    pub(crate) async fn stop(&mut self) {
        self.stop.take().unwrap().send(()).unwrap();
        timeout(TIMEOUT, &mut self.done).await.expect("the client drains").unwrap();
    }
}

/// Telemetry that goes nowhere, or metrics to `exporter`.
pub(crate) fn telemetry(exporter: Option<InMemoryMetricExporter>) -> Telemetry {
    let builder = Telemetry::builder("kelvin-client", "0");
    match exporter {
        Some(exporter) => builder.metric_reader(PeriodicReader::builder(exporter).build()).build().unwrap(),
        None => builder.build().unwrap(),
    }
}
