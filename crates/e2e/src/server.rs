//! gRPC clients of the server, through a port-forward or an address outside the cluster, with the credentials of a check.

use std::{fmt, io, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use hyper_util::rt::TokioIo;
use kelvin_proto::sensor_service_client::SensorServiceClient;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, Endpoint},
};
use tower::service_fn;

use crate::cluster::{Cluster, GRPC_PORT};

/// A gRPC client that sends the token of its [`Caller`].
pub type Client = SensorServiceClient<InterceptedService<Channel, Token>>;

const TIMEOUT: Duration = Duration::from_secs(10);

/// The route, TLS configuration and token with which to call the server.
#[derive(Clone)]
pub struct Caller {
    cluster: Cluster,
    route: Route,
    tls: Option<Arc<ClientConfig>>,
    token: Token,
}

/// How a connection reaches a server, and the name that its certificate must have.
#[derive(Debug, Clone, Copy)]
pub enum Route {
    /// Through the Kubernetes API server, to a pod that is ready.
    PortForward,
    /// Directly, from outside the cluster.
    Address {
        /// Address to connect to.
        address: SocketAddr,
        /// Name that the client sends as SNI and verifies in the certificate.
        name: &'static str,
    },
}

/// An interceptor that adds the token, if there is one, to each call.
#[derive(Clone)]
pub struct Token(Option<MetadataValue<Ascii>>);

impl Caller {
    /// Reads the CA and the first token from the cluster's Secrets.
    pub async fn new(cluster: &Cluster) -> Result<Self> {
        let ca = cluster.secret("check-tls", "ca.crt").await?;
        let token = cluster.token().await?;
        let caller =
            Self { cluster: cluster.clone(), route: Route::PortForward, tls: None, token: Token(None) };
        caller.with_token(Some(&token))?.with_ca(&ca)
    }

    /// Replaces the token, or removes it.
    pub fn with_token(self, token: Option<&str>) -> Result<Self> {
        Ok(Self { token: Token(token.map(str::parse).transpose()?), ..self })
    }

    /// Replaces the trusted CA (PEM).
    pub fn with_ca(self, ca: &[u8]) -> Result<Self> {
        let config = ClientConfig::builder().with_root_certificates(roots(ca)?).with_no_client_auth();
        Ok(self.with_tls(config))
    }

    /// Adds the client certificate of the release's checks.
    pub async fn with_certificate(self) -> Result<Self> {
        let [ca, certificate, key] =
            ["ca.crt", "tls.crt", "tls.key"].map(|key| self.cluster.secret("check-tls", key));
        let (certificate, key) = (certificate.await?, key.await?);
        let config =
            ClientConfig::builder().with_root_certificates(roots(&ca.await?)?).with_client_auth_cert(
                CertificateDer::pem_slice_iter(&certificate).collect::<Result<_, _>>()?,
                PrivateKeyDer::from_pem_slice(&key)?,
            )?;
        Ok(self.with_tls(config))
    }

    /// Removes TLS.
    #[must_use]
    pub fn without_tls(self) -> Self {
        Self { tls: None, ..self }
    }

    /// Replaces the route.
    #[must_use]
    pub fn via(self, route: Route) -> Self {
        Self { route, ..self }
    }

    fn with_tls(self, mut config: ClientConfig) -> Self {
        config.alpn_protocols = vec![b"h2".to_vec()];
        Self { tls: Some(Arc::new(config)), ..self }
    }

    /// Connects to a server that is ready. The channel reconnects when the connection breaks.
    pub async fn channel(&self) -> Result<Channel, tonic::transport::Error> {
        let (cluster, route, tls) = (self.cluster.clone(), self.route, self.tls.clone());
        let connector = service_fn(move |_| connect(cluster.clone(), route, tls.clone()));
        let origin = if self.tls.is_some() { "https://localhost" } else { "http://localhost" };
        Endpoint::from_static("http://localhost")
            .origin(http::Uri::from_static(origin))
            .timeout(TIMEOUT)
            .connect_timeout(TIMEOUT)
            .connect_with_connector(connector)
            .await
    }

    /// Returns a client on a new connection.
    pub async fn client(&self) -> Result<Client, tonic::transport::Error> {
        Ok(self.client_on(self.channel().await?))
    }

    /// Returns a client on an existing connection.
    #[must_use]
    pub fn client_on(&self, channel: Channel) -> Client {
        SensorServiceClient::with_interceptor(channel, self.token.clone())
    }

    /// Returns the certificate (DER) that the server presents to a new connection.
    pub async fn server_certificate(&self) -> Result<CertificateDer<'static>> {
        let tls = self.tls.clone().context("the caller has no TLS configuration")?;
        let stream = dial(&self.cluster, self.route).await?;
        let stream = handshake(stream, self.route, tls).await?;
        let chain = stream.get_ref().1.peer_certificates();
        Ok(chain.and_then(<[_]>::first).context("the server sent no certificate")?.clone().into_owned())
    }
}

impl Interceptor for Token {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            request.metadata_mut().insert("authorization", token.clone());
        }
        Ok(request)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

fn roots(ca: &[u8]) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(ca) {
        roots.add(certificate?)?;
    }
    Ok(roots)
}

/// A TLS or plain-text stream for tonic's connector.
type Io = TokioIo<BoxedStream>;
type BoxedStream = Box<dyn Stream>;

trait Stream: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin {}
impl<T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin> Stream for T {}

async fn connect(cluster: Cluster, route: Route, tls: Option<Arc<ClientConfig>>) -> Result<Io, io::Error> {
    let stream = dial(&cluster, route).await.map_err(io::Error::other)?;
    Ok(TokioIo::new(match tls {
        Some(tls) => Box::new(handshake(stream, route, tls).await?),
        None => stream,
    }))
}

async fn dial(cluster: &Cluster, route: Route) -> Result<BoxedStream> {
    Ok(match route {
        Route::PortForward => Box::new(cluster.dial(&cluster.ready_server().await?, GRPC_PORT).await?),
        Route::Address { address, .. } => Box::new(TcpStream::connect(address).await?),
    })
}

async fn handshake(
    stream: BoxedStream,
    route: Route,
    tls: Arc<ClientConfig>,
) -> io::Result<tokio_rustls::client::TlsStream<BoxedStream>> {
    let name = match route {
        Route::PortForward => "localhost",
        Route::Address { name, .. } => name,
    };
    TlsConnector::from(tls).connect(ServerName::try_from(name).expect("a DNS name"), stream).await
}
