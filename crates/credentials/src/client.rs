//! The client's side: the CAs that servers are checked with, and a certificate of its own if it has one.

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use opentelemetry::metrics::Meter;
use rustls::{
    ClientConfig, RootCertStore,
    client::Resumption,
    sign::{CertifiedKey, SingleCertAndKey},
};

use crate::{
    ALPN_H2, TlsError, pem, provider,
    reload::{self, Live},
    watched::{Event, Expiry, Watched},
};

/// Where the PEM files of a client are.
#[derive(Debug, Clone)]
pub struct ClientFiles {
    /// The CAs that servers' certificates are checked with.
    pub ca: PathBuf,
    /// The client's certificate chain, its own first.
    pub cert: Option<PathBuf>,
    /// The certificate's private key.
    pub key: Option<PathBuf>,
}

/// A client's TLS, up to date with its files while [`watch`](Self::watch) runs.
pub struct ClientTls(Arc<Live<Parts>>);

struct Parts {
    ca: Watched<RootCertStore>,
    pair: Option<Watched<CertifiedKey>>,
}

impl ClientTls {
    /// Reads the files. All must be good now.
    pub fn load(files: ClientFiles) -> Result<Arc<Self>, TlsError> {
        let pair = match (files.cert, files.key) {
            (Some(cert), Some(key)) => Some(Watched::load("client_certificate", vec![cert, key], pem::pair)?),
            (None, None) => None,
            _ => return Err(TlsError::HalfPair),
        };
        let ca = Watched::load("server_ca", vec![files.ca], pem::roots)?;
        Ok(Arc::new(Self(Live::new(Parts { ca, pair })?)))
    }

    /// The configuration of this moment, to be asked for at each new connection.
    #[must_use]
    pub fn config(&self) -> Arc<ClientConfig> {
        self.0.current()
    }

    /// Looks at the files every `interval`, for ever. Counts `kelvin.reloads` and records
    /// `kelvin.certificate.expiry` with `meter`.
    pub fn watch(&self, interval: Duration, meter: &Meter) -> impl Future<Output = ()> + Send + use<> {
        self.0.watch(interval, meter)
    }
}

impl reload::Parts for Parts {
    type Whole = ClientConfig;

    fn whole(&self) -> Result<Arc<ClientConfig>, TlsError> {
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_root_certificates(self.ca.value());
        let mut config = match &self.pair {
            Some(pair) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(pair.value()))),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![ALPN_H2.into()];
        // A resumed session would carry the server's certificate past its end.
        config.resumption = Resumption::disabled();
        Ok(Arc::new(config))
    }

    fn reload(&mut self) -> Vec<Event> {
        let pair = self.pair.as_mut().and_then(Watched::reload);
        self.ca.reload().into_iter().chain(pair).collect()
    }

    fn files(&self) -> Vec<&'static str> {
        let pair = self.pair.as_ref().map(Watched::file);
        [self.ca.file()].into_iter().chain(pair).collect()
    }

    fn expiries(&self) -> Vec<Expiry> {
        let pair = self.pair.as_ref().and_then(Watched::expiry);
        self.ca.expiry().into_iter().chain(pair).collect()
    }
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientTls").finish_non_exhaustive()
    }
}
