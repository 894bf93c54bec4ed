//! The server's side: its certificate, and the CA that clients' certificates are checked with.

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use opentelemetry::metrics::Meter;
use rustls::{
    RootCertStore, ServerConfig,
    server::{NoServerSessionStorage, WebPkiClientVerifier, danger::ClientCertVerifier},
    sign::{CertifiedKey, SingleCertAndKey},
};

use crate::{
    ALPN_H2, TlsError, pem, provider,
    reload::{self, Live},
    watched::{Event, Expiry, Watched},
};

/// What clients have to show of themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientAuth {
    /// Nothing; certificates are not asked for.
    None,
    /// A certificate if they have one; it must then be good.
    Optional,
    /// A good certificate.
    Required,
}

/// Where the PEM files of a server are.
#[derive(Debug, Clone)]
pub struct ServerFiles {
    /// The certificate chain, the server's own first.
    pub cert: PathBuf,
    /// The certificate's private key.
    pub key: PathBuf,
    /// The CAs that clients' certificates are checked with.
    pub client_ca: Option<PathBuf>,
}

/// A server's TLS, up to date with its files while [`watch`](Self::watch) runs.
pub struct ServerTls(Arc<Live<Parts>>);

struct Parts {
    client_auth: ClientAuth,
    pair: Watched<CertifiedKey>,
    client_ca: Option<Watched<RootCertStore>>,
}

impl ServerTls {
    /// Reads the files. All must be good now.
    pub fn load(files: ServerFiles, client_auth: ClientAuth) -> Result<Arc<Self>, TlsError> {
        let client_ca = match (client_auth, files.client_ca) {
            (ClientAuth::None, _) => None,
            (_, None) => return Err(TlsError::NoClientCa),
            (_, Some(path)) => Some(Watched::load("client_ca", vec![path], pem::roots)?),
        };
        let pair = Watched::load("server_certificate", vec![files.cert, files.key], pem::pair)?;
        Ok(Arc::new(Self(Live::new(Parts { client_auth, pair, client_ca })?)))
    }

    /// The configuration of this moment, to be asked for at each new connection.
    #[must_use]
    pub fn config(&self) -> Arc<ServerConfig> {
        self.0.current()
    }

    /// Looks at the files every `interval`, for ever. Counts `kelvin.reloads` and records
    /// `kelvin.certificate.expiry` with `meter`.
    pub fn watch(&self, interval: Duration, meter: &Meter) -> impl Future<Output = ()> + Send + use<> {
        self.0.watch(interval, meter)
    }
}

impl reload::Parts for Parts {
    type Whole = ServerConfig;

    fn whole(&self) -> Result<Arc<ServerConfig>, TlsError> {
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(self.client_verifier()?)
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(self.pair.value())));
        config.alpn_protocols = vec![ALPN_H2.into()];
        // A resumed session would carry a client's certificate past its end and past its CA.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Arc::new(config))
    }

    fn reload(&mut self) -> Vec<Event> {
        let client_ca = self.client_ca.as_mut().and_then(Watched::reload);
        self.pair.reload().into_iter().chain(client_ca).collect()
    }

    fn files(&self) -> Vec<&'static str> {
        let client_ca = self.client_ca.as_ref().map(Watched::file);
        [self.pair.file()].into_iter().chain(client_ca).collect()
    }

    fn expiries(&self) -> Vec<Expiry> {
        let client_ca = self.client_ca.as_ref().and_then(Watched::expiry);
        self.pair.expiry().into_iter().chain(client_ca).collect()
    }
}

impl Parts {
    fn client_verifier(&self) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
        let Some(client_ca) = &self.client_ca else { return Ok(WebPkiClientVerifier::no_client_auth()) };
        let mut builder = WebPkiClientVerifier::builder_with_provider(client_ca.value(), provider());
        if self.client_auth == ClientAuth::Optional {
            builder = builder.allow_unauthenticated();
        }
        Ok(builder.build()?)
    }
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls").finish_non_exhaustive()
    }
}
