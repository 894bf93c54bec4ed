//! Calls to the server: gRPC over TLS through a port-forward or to an address outside the cluster, with whatever credentials
//! a check wants.

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

/// A client of the server that sends what a [`Caller`] has.
pub type Client = SensorServiceClient<InterceptedService<Channel, Token>>;

const LIMIT: Duration = Duration::from_secs(10);

/// How to call the server.
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
    /// Through the API server, to a pod that is ready.
    PortForward,
    /// From outside the cluster.
    Address {
        /// Where to connect to.
        address: SocketAddr,
        /// What is asked for (SNI) and verified.
        name: &'static str,
    },
}

/// Puts the token, if there is one, into each call.
#[derive(Clone)]
pub struct Token(Option<MetadataValue<Ascii>>);

impl Caller {
    /// As the cluster's Secrets have it: its CA, and the first of its tokens.
    pub async fn new(cluster: &Cluster) -> Result<Self> {
        let ca = cluster.secret("check-tls", "ca.crt").await?;
        let token = cluster.token().await?;
        let caller =
            Self { cluster: cluster.clone(), route: Route::PortForward, tls: None, token: Token(None) };
        caller.with_token(Some(&token))?.with_ca(&ca)
    }

    /// The same with another token, or none.
    pub fn with_token(self, token: Option<&str>) -> Result<Self> {
        Ok(Self { token: Token(token.map(str::parse).transpose()?), ..self })
    }

    /// The same with trust in another CA (PEM).
    pub fn with_ca(self, ca: &[u8]) -> Result<Self> {
        let config = ClientConfig::builder().with_root_certificates(roots(ca)?).with_no_client_auth();
        Ok(self.with_tls(config))
    }

    /// The same with the client certificate of the release's checks.
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

    /// The same without TLS.
    #[must_use]
    pub fn in_plain_text(self) -> Self {
        Self { tls: None, ..self }
    }

    /// The same by another route.
    #[must_use]
    pub fn by(self, route: Route) -> Self {
        Self { route, ..self }
    }

    fn with_tls(self, mut config: ClientConfig) -> Self {
        config.alpn_protocols = vec![b"h2".to_vec()];
        Self { tls: Some(Arc::new(config)), ..self }
    }

    /// A connection to a server that is ready; made again when it breaks.
    pub async fn channel(&self) -> Result<Channel, tonic::transport::Error> {
        let (cluster, route, tls) = (self.cluster.clone(), self.route, self.tls.clone());
        let connector = service_fn(move |_| connect(cluster.clone(), route, tls.clone()));
        let origin = if self.tls.is_some() { "https://localhost" } else { "http://localhost" };
        Endpoint::from_static("http://localhost")
            .origin(http::Uri::from_static(origin))
            .timeout(LIMIT)
            .connect_timeout(LIMIT)
            .connect_with_connector(connector)
            .await
    }

    /// A client on a connection of its own.
    pub async fn client(&self) -> Result<Client, tonic::transport::Error> {
        Ok(self.client_on(self.channel().await?))
    }

    /// A client on a connection that is there.
    #[must_use]
    pub fn client_on(&self, channel: Channel) -> Client {
        SensorServiceClient::with_interceptor(channel, self.token.clone())
    }

    /// The server's certificate (DER), as a new connection sees it.
    pub async fn server_certificate(&self) -> Result<CertificateDer<'static>> {
        let tls = self.tls.clone().context("the caller has no TLS configuration")?;
        let stream = dial(&self.cluster, self.route).await?;
        let stream = handshake(stream, self.route, tls).await?;
        let chain = stream.get_ref().1.peer_certificates();
        Ok(chain.and_then(<[_]>::first).context("no certificate")?.clone().into_owned())
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

/// Either kind of stream, as tonic wants it.
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
