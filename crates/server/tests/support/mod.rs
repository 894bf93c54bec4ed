//! A real server with real TLS on a free port, and clients for it.

#![allow(dead_code, reason = "compiled into each test program, and each uses a part of it")]

pub(crate) mod grpcio;
pub(crate) mod kelvin;
pub(crate) mod program;

use std::{
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use hyper::client::conn::http2::{Connection, SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use kelvin_credentials::{
    ClientFiles, ClientTls,
    ca::{LocalCa, Usage},
};
use kelvin_proto::{SensorReading, SensorStatsRequest, sensor_service_client::SensorServiceClient};
use kelvin_server::{Config, Server, ServerError};
use kelvin_telemetry::{Telemetry, receiver::Receiver};
use kelvin_testing::{eventually, eventually_ok};
use tempfile::TempDir;
use tokio::{net::TcpStream, sync::oneshot, task::JoinHandle};
use tokio_rustls::{TlsConnector, client::TlsStream, rustls::pki_types::ServerName};
use tonic::{
    Request,
    transport::{Channel, Endpoint, Uri},
};

pub(crate) const TOKEN: &str = "correct-horse-battery-staple";

/// Longer than anything here takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A CA and the files of a server and its clients.
pub(crate) struct Files {
    pub(crate) ca: LocalCa,
    pub(crate) dir: TempDir,
}

impl Files {
    pub(crate) fn new() -> Self {
        let files = Self { ca: LocalCa::generate().unwrap(), dir: TempDir::new().unwrap() };
        fs::write(files.path("ca.pem"), files.ca.pem()).unwrap();
        fs::write(files.path("tokens"), format!("{TOKEN}\n")).unwrap();
        files.issue("server", Usage::Server);
        files
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes `<name>.pem` and `<name>.key`.
    pub(crate) fn issue(&self, name: &str, usage: Usage) {
        self.issue_by(&self.ca, name, usage);
    }

    /// The same, issued by another CA.
    pub(crate) fn issue_by(&self, ca: &LocalCa, name: &str, usage: Usage) {
        let pair = ca.issue(usage, &["localhost", "127.0.0.1"]).unwrap();
        pair.write(&self.path(&format!("{name}.pem")), &self.path(&format!("{name}.key"))).unwrap();
    }

    /// Settings for TLS and tokens, and ports that are free.
    pub(crate) fn settings(&self) -> Vec<(String, String)> {
        let path = |name| Path::display(&self.path(name)).to_string();
        [
            ("KELVIN_LISTEN", "127.0.0.1:0".to_owned()),
            ("KELVIN_HEALTH_LISTEN", "127.0.0.1:0".to_owned()),
            ("KELVIN_WORKERS", "2".to_owned()),
            ("KELVIN_TLS_CERT", path("server.pem")),
            ("KELVIN_TLS_KEY", path("server.key")),
            ("KELVIN_TOKEN_FILE", path("tokens")),
            ("KELVIN_RELOAD_INTERVAL", "20ms".to_owned()),
            ("KELVIN_DRAIN_DELAY", "0s".to_owned()),
            ("KELVIN_DRAIN_TIMEOUT", "5s".to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }

    /// The same with `extra` on top, and the CA for client certificates where they are asked for.
    pub(crate) fn settings_with(&self, extra: &[(&str, &str)]) -> Vec<(String, String)> {
        let ca = self.path("ca.pem").display().to_string();
        let mtls = extra.iter().any(|(name, value)| *name == "KELVIN_MTLS" && *value != "none");
        let ca = mtls.then(|| ("KELVIN_TLS_CLIENT_CA".to_owned(), ca));
        let extra = extra.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        self.settings().into_iter().chain(ca).chain(extra).collect()
    }

    /// TLS of a client that shows the certificate `pair`, if it is named.
    pub(crate) fn client_tls(&self, pair: Option<&str>) -> Arc<ClientTls> {
        let cert = pair.map(|name| self.path(&format!("{name}.pem")));
        let key = pair.map(|name| self.path(&format!("{name}.key")));
        ClientTls::load(ClientFiles { ca: Some(self.path("ca.pem")), cert, key }).unwrap()
    }
}

/// A server that runs until it is dropped or asked to shut down.
pub(crate) struct TestServer {
    pub(crate) address: SocketAddr,
    pub(crate) health: SocketAddr,
    pub(crate) files: Files,
    shutdown: Option<oneshot::Sender<()>>,
    running: JoinHandle<Result<(), ServerError>>,
}

impl TestServer {
    pub(crate) async fn start(settings: &[(&str, &str)]) -> Self {
        Self::start_with(Files::new(), settings).await
    }

    pub(crate) async fn start_with(files: Files, settings: &[(&str, &str)]) -> Self {
        let telemetry = Telemetry::builder("kelvin-server", "test").build().unwrap();
        Self::start_observed(files, settings, &telemetry).await
    }

    pub(crate) async fn start_observed(
        files: Files,
        settings: &[(&str, &str)],
        telemetry: &Telemetry,
    ) -> Self {
        let config = Config::from_pairs(files.settings_with(settings)).unwrap();
        let server = Server::build(config, telemetry).unwrap();
        let (address, health) = (server.local_addr(), server.health_addr().unwrap());
        let (shutdown, asked) = oneshot::channel();
        let running = tokio::spawn(server.run(async {
            let _ = asked.await;
        }));
        eventually_ok("the server is ready", async || kelvin_app::health::check(health).await).await;
        Self { address, health, files, shutdown: Some(shutdown), running }
    }

    /// Tells it to shut down.
    pub(crate) fn shut_down(&mut self) {
        let _ = self.shutdown.take().unwrap().send(());
    }

    /// Waits until it has drained.
    pub(crate) async fn ended(self) -> Result<(), ServerError> {
        tokio::time::timeout(PATIENCE, self.running).await.expect("the drain ends").unwrap()
    }

    /// A new connection without a certificate.
    pub(crate) async fn connect(&self) -> Channel {
        connect(self.address, self.files.client_tls(None)).await.unwrap()
    }

    /// A client on a new connection that sends the right token.
    pub(crate) async fn client(&self) -> Client {
        client(self.connect().await, TOKEN)
    }

    /// A TLS connection that shows the certificate `pair`, if it is named.
    pub(crate) async fn tls_stream(&self, pair: Option<&str>) -> TlsStream<TcpStream> {
        tls_stream(self.address, self.files.client_tls(pair)).await.unwrap()
    }

    /// A connection of its own without the layers of tonic's channel, for the caller to drive.
    pub(crate) async fn bare_connection(&self) -> (SendRequest<tonic::body::Body>, BareConnection) {
        let stream = self.tls_stream(None).await;
        handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap()
    }

    /// A client on such a connection.
    pub(crate) async fn bare_client(
        &self,
    ) -> SensorServiceClient<
        impl tonic::client::GrpcService<
            tonic::body::Body,
            Error = hyper::Error,
            ResponseBody = hyper::body::Incoming,
            Future: Send,
        > + Clone,
    > {
        let (sender, connection) = self.bare_connection().await;
        tokio::spawn(connection);
        let service = tower::service_fn(move |mut request: http::Request<tonic::body::Body>| {
            request.headers_mut().insert("authorization", TOKEN.parse().unwrap());
            sender.clone().send_request(request)
        });
        SensorServiceClient::with_origin(service, Uri::from_static("http://localhost"))
    }
}

/// Ends when the connection does.
pub(crate) type BareConnection = Connection<TokioIo<TlsStream<TcpStream>>, tonic::body::Body, TokioExecutor>;

pub(crate) type Client = SensorServiceClient<Authorized>;

type Authorized = tonic::service::interceptor::InterceptedService<Channel, SetToken>;

/// Sets the authorization metadata.
#[derive(Clone)]
pub(crate) struct SetToken(String);

impl tonic::service::Interceptor for SetToken {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, tonic::Status> {
        request.metadata_mut().insert("authorization", self.0.parse().unwrap());
        Ok(request)
    }
}

pub(crate) fn client(channel: Channel, authorization: &str) -> Client {
    SensorServiceClient::with_interceptor(channel, SetToken(authorization.to_owned()))
}

/// A connection over TLS.
pub(crate) async fn connect(
    address: SocketAddr,
    tls: Arc<ClientTls>,
) -> Result<Channel, tonic::transport::Error> {
    connect_by(Endpoint::from_static("http://localhost"), address, tls).await
}

/// A connection over TLS with the settings of `endpoint`.
pub(crate) async fn connect_by(
    endpoint: Endpoint,
    address: SocketAddr,
    tls: Arc<ClientTls>,
) -> Result<Channel, tonic::transport::Error> {
    endpoint.connect_with_connector(tower::service_fn(move |_: Uri| dial(address, Arc::clone(&tls)))).await
}

/// Opens a TLS connection for a connector.
pub(crate) async fn dial(
    address: SocketAddr,
    tls: Arc<ClientTls>,
) -> io::Result<TokioIo<TlsStream<TcpStream>>> {
    Ok(TokioIo::new(tls_stream(address, tls).await?))
}

async fn tls_stream(address: SocketAddr, tls: Arc<ClientTls>) -> io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    TlsConnector::from(tls.config()).connect(ServerName::try_from("localhost").unwrap(), stream).await
}

/// Telemetry that goes to `receiver`, without logs.
pub(crate) fn observed_by(receiver: &Receiver) -> Telemetry {
    Telemetry::builder("kelvin-server", "test")
        .variable("OTEL_EXPORTER_OTLP_ENDPOINT", &receiver.grpc_endpoint())
        .with_logs(false)
        .build()
        .unwrap()
}

/// Exports the metrics as they stand.
pub(crate) async fn flush_metrics(telemetry: &Telemetry) {
    let provider = telemetry.meter_provider();
    tokio::task::spawn_blocking(move || provider.force_flush()).await.unwrap().unwrap();
}

/// Waits until a sensor has so many readings.
pub(crate) async fn until_stored(client: &Client, sensor_id: &str, count: u64) {
    let mut client = client.clone();
    eventually(&format!("{count} readings of {sensor_id} are stored"), async || {
        let request = SensorStatsRequest { sensor_id: sensor_id.to_owned() };
        client.get_sensor_stats(request).await.is_ok_and(|stats| stats.get_ref().count == count)
    })
    .await;
}

pub(crate) fn reading(sensor_id: &str, temperature: f64, timestamp: i64) -> SensorReading {
    SensorReading { sensor_id: sensor_id.to_owned(), temperature, timestamp }
}
