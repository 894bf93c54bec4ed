//! Asks the server that runs with the same settings whether it serves, for probes that run a command.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use hyper_util::rt::TokioIo;
use kelvin_app::{BoxError, error_chain, health::reachable};
use kelvin_credentials::{allows_client_auth, read_identity};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, DigitallySignedStruct, SignatureScheme,
        client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
        pki_types::{CertificateDer, ServerName, UnixTime},
    },
};
use tonic::{
    Status,
    transport::{Channel, Endpoint, Uri},
};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::config::{Config, Mtls};

/// The timeout of the whole check.
const LIMIT: Duration = Duration::from_secs(2);

/// The reason why a server is not healthy.
#[derive(Debug, thiserror::Error)]
pub enum Unhealthy {
    /// It cannot be asked with the files that the settings name.
    #[error("cannot set up the health check")]
    Files(#[source] BoxError),
    /// There is no answer.
    #[error("no healthy server at {address}")]
    Unreachable {
        /// The address that was asked.
        address: SocketAddr,
        /// The cause.
        source: BoxError,
    },
    /// It answers that it does not serve.
    #[error("the server at {address} reports {status}")]
    NotServing {
        /// The address of the server.
        address: SocketAddr,
        /// The status in its answer.
        status: &'static str,
    },
}

/// Makes a health call as a client would, over TLS if the server has it.
pub async fn check(config: &Config) -> Result<(), Unhealthy> {
    let address = reachable(config.listen);
    let tls = if config.plaintext { None } else { Some(client_config(config).map_err(Unhealthy::Files)?) };
    let asked = tokio::time::timeout(LIMIT, ask(address, tls)).await;
    let status = asked
        .unwrap_or_else(|elapsed| Err(elapsed.into()))
        .map_err(|source| Unhealthy::Unreachable { address, source })?;
    match status {
        ServingStatus::Serving => Ok(()),
        status => Err(Unhealthy::NotServing { address, status: status.as_str_name() }),
    }
}

async fn ask(address: SocketAddr, tls: Option<ClientConfig>) -> Result<ServingStatus, BoxError> {
    let channel = connect(address, tls).await?;
    let answer = HealthClient::new(channel).check(HealthCheckRequest { service: String::new() }).await;
    Ok(answer.map_err(|status| cause(&status))?.into_inner().status())
}

/// In the words of what broke; tonic's own begin with all fields of the status.
fn cause(status: &Status) -> BoxError {
    match std::error::Error::source(status) {
        Some(source) => error_chain(source).into(),
        None => format!("{:?}: {}", status.code(), status.message()).into(),
    }
}

async fn connect(address: SocketAddr, tls: Option<ClientConfig>) -> Result<Channel, BoxError> {
    let tls = tls.map(|config| TlsConnector::from(Arc::new(config)));
    let connector = tower::service_fn(move |_: Uri| {
        let tls = tls.clone();
        async move {
            let stream = TcpStream::connect(address).await?;
            let stream: Box<dyn Stream> = match tls {
                Some(tls) => Box::new(tls.connect(ServerName::IpAddress(address.ip().into()), stream).await?),
                None => Box::new(stream),
            };
            Ok::<_, io::Error>(TokioIo::new(stream))
        }
    });
    Ok(Endpoint::from_shared(format!("http://{address}"))?.connect_with_connector(connector).await?)
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// With the server's own certificate as the client's, where one is required.
fn client_config(config: &Config) -> Result<ClientConfig, BoxError> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(OwnServer(provider)));
    let mut tls = match (&config.tls_cert, &config.tls_key) {
        (Some(cert), Some(key)) if config.mtls == Mtls::Required => {
            let (chain, private_key) = read_identity(cert, key)?;
            if !chain.first().is_some_and(allows_client_auth) {
                return Err(format!(
                    "{} is for servers only, so KELVIN_MTLS=required rejects it as a client certificate: issue it without an \
                     extended key usage, or probe /readyz at KELVIN_HEALTH_LISTEN",
                    cert.display()
                )
                .into());
            }
            builder.with_client_auth_cert(chain, private_key)?
        }
        _ => builder.with_no_client_auth(),
    };
    tls.alpn_protocols = vec![b"h2".to_vec()];
    Ok(tls)
}

/// Accepts any certificate whose key the peer has. The health check connects to a server on the same machine, by an address
/// that its certificate need not contain, sends no secret and receives only a status. Also, a server that keeps its last
/// valid certificate because the file is invalid is healthy.
#[derive(Debug)]
struct OwnServer(Arc<CryptoProvider>);

impl ServerCertVerifier for OwnServer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, tokio_rustls::rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, tokio_rustls::rustls::Error> {
        verify_tls12_signature(message, cert, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, tokio_rustls::rustls::Error> {
        verify_tls13_signature(message, cert, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
