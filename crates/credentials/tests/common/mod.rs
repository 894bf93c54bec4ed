//! A server and a client that shake hands over TCP, and files that change like mounted secrets.
#![allow(dead_code, reason = "compiled into each test program, and each uses a part of it")]

use std::{
    fs, io,
    net::SocketAddr,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use kelvin_credentials::{
    ClientAuth, ClientFiles, ClientTls, ServerFiles, ServerTls, TlsError,
    ca::{LocalCa, Pair, Usage},
    has_client_auth_eku,
};
use kelvin_testing::eventually;
use opentelemetry::metrics::{Meter, MeterProvider};
use opentelemetry_sdk::metrics::{InMemoryMetricExporter, PeriodicReader, SdkMeterProvider};
use rustls::ClientConfig;
use rustls_pki_types::{CertificateDer, pem::PemObject};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{TlsAcceptor, TlsConnector};

pub(crate) const POLL: Duration = Duration::from_millis(5);

/// A folder that changes as the kubelet changes a mounted secret: a new folder, then a symlink renamed
/// over the old one.
pub(crate) struct Secret {
    dir: TempDir,
    versions: usize,
}

impl Secret {
    pub(crate) fn new(files: &[(&str, &str)]) -> Self {
        let mut secret = Self { dir: tempfile::tempdir().unwrap(), versions: 0 };
        secret.write(files);
        secret
    }

    pub(crate) fn pair(pair: &Pair, ca: &str) -> Self {
        Self::new(&[("tls.crt", &pair.cert), ("tls.key", &pair.key), ("ca.crt", ca)])
    }

    pub(crate) fn write(&mut self, files: &[(&str, &str)]) {
        self.versions += 1;
        let version = self.dir.path().join(format!("v{}", self.versions));
        fs::create_dir(&version).unwrap();
        for (name, content) in files {
            fs::write(version.join(name), content).unwrap();
        }
        let link = self.dir.path().join("new");
        symlink(&version, &link).unwrap();
        fs::rename(&link, self.dir.path().join("data")).unwrap();
    }

    pub(crate) fn write_pair(&mut self, pair: &Pair, ca: &str) {
        self.write(&[("tls.crt", &pair.cert), ("tls.key", &pair.key), ("ca.crt", ca)]);
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join("data").join(name)
    }

    pub(crate) fn server(&self, client_auth: ClientAuth) -> Result<Arc<ServerTls>, TlsError> {
        let files = ServerFiles {
            cert: self.path("tls.crt"),
            key: self.path("tls.key"),
            external: None,
            client_ca: Some(self.path("ca.crt")),
        };
        ServerTls::load(files, client_auth)
    }

    pub(crate) fn client(&self) -> Result<Arc<ClientTls>, TlsError> {
        let [cert, key] = ["tls.crt", "tls.key"].map(|name| Some(self.path(name)));
        ClientTls::load(ClientFiles { ca: Some(self.path("ca.crt")), cert, key })
    }
}

pub(crate) fn server_pair(ca: &LocalCa) -> Pair {
    ca.issue(Usage::Server, &["localhost", "127.0.0.1"]).unwrap()
}

pub(crate) fn client_pair(ca: &LocalCa) -> Pair {
    ca.issue(Usage::Client, &["sensor"]).unwrap()
}

pub(crate) fn der(pair: &Pair) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pair.cert.as_bytes()).unwrap()
}

/// Only a CA: a client without a certificate.
pub(crate) fn anonymous(ca: &Path) -> Arc<ClientTls> {
    ClientTls::load(ClientFiles { ca: Some(ca.into()), ..ClientFiles::default() }).unwrap()
}

/// What a client may do, as the server sees it.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub(crate) enum Seen {
    NoCertificate = 0,
    Certificate = 1,
    MayAuthenticate = 2,
}

/// Answers each connection with one byte: what it saw of the client.
pub(crate) async fn serve(tls: Arc<ServerTls>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let acceptor = TlsAcceptor::from(tls.config());
            tokio::spawn(async move {
                let mut stream = acceptor.accept(stream).await?;
                let certificate = stream.get_ref().1.peer_certificates().map(|chain| chain[0].clone());
                let seen = match certificate {
                    None => Seen::NoCertificate,
                    Some(certificate) if has_client_auth_eku(&certificate) => Seen::MayAuthenticate,
                    Some(_) => Seen::Certificate,
                };
                stream.write_all(&[seen as u8]).await?;
                stream.shutdown().await
            });
        }
    });
    address
}

/// A handshake and the server's answer; gives what the server saw and the certificate it showed.
pub(crate) async fn call(
    address: SocketAddr,
    config: Arc<ClientConfig>,
) -> io::Result<(Seen, CertificateDer<'static>)> {
    call_as(address, config, "localhost").await
}

/// The same with another name of the server.
pub(crate) async fn call_as(
    address: SocketAddr,
    config: Arc<ClientConfig>,
    name: &'static str,
) -> io::Result<(Seen, CertificateDer<'static>)> {
    let stream = TcpStream::connect(address).await?;
    let mut stream = TlsConnector::from(config).connect(name.try_into().unwrap(), stream).await?;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let seen = match stream.read_u8().await? {
        0 => Seen::NoCertificate,
        1 => Seen::Certificate,
        _ => Seen::MayAuthenticate,
    };
    let certificate = stream.get_ref().1.peer_certificates().unwrap()[0].clone();
    Ok((seen, certificate.into_owned()))
}

/// A meter and the values that it was given, as `name{attributes} value`.
pub(crate) struct Metrics {
    provider: SdkMeterProvider,
    exporter: InMemoryMetricExporter,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let exporter = InMemoryMetricExporter::default();
        let reader = PeriodicReader::builder(exporter.clone()).with_interval(Duration::from_hours(1)).build();
        Self { provider: SdkMeterProvider::builder().with_reader(reader).build(), exporter }
    }

    pub(crate) fn meter(&self) -> Meter {
        self.provider.meter("test")
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData, ScopeMetrics};
        self.exporter.reset();
        self.provider.force_flush().unwrap();
        let mut lines = Vec::new();
        for batch in self.exporter.get_finished_metrics().unwrap() {
            for metric in batch.scope_metrics().flat_map(ScopeMetrics::metrics) {
                let mut line = |attributes: Vec<&opentelemetry::KeyValue>, value: i128| {
                    let mut attributes: Vec<_> =
                        attributes.iter().map(|pair| format!("{}={}", pair.key, pair.value)).collect();
                    attributes.sort();
                    lines.push(format!(
                        "{}[{}]{{{}}} {value}",
                        metric.name(),
                        metric.unit(),
                        attributes.join(",")
                    ));
                };
                match metric.data() {
                    AggregatedMetrics::U64(MetricData::Sum(sum)) => {
                        sum.data_points().for_each(|p| line(p.attributes().collect(), p.value().into()));
                    }
                    AggregatedMetrics::I64(MetricData::Gauge(gauge)) => {
                        gauge.data_points().for_each(|p| line(p.attributes().collect(), p.value().into()));
                    }
                    other => panic!("unexpected data: {other:?}"),
                }
            }
        }
        lines
    }

    pub(crate) fn has(&self, line: &str) -> bool {
        self.lines().iter().any(|found| found == line)
    }

    pub(crate) async fn until_has(&self, line: &str) {
        eventually(&format!("there is {line}"), async || self.has(line)).await;
    }
}
