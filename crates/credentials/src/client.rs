//! Client-side TLS: the CAs that servers are verified with, and an optional client certificate.

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use opentelemetry::metrics::Meter;
use rustls::{
    ClientConfig, RootCertStore,
    client::Resumption,
    sign::{CertifiedKey, SingleCertAndKey},
};

use crate::{
    Role, TlsError, certificates,
    crypto::{ALPN_H2, provider},
    file::{Parse, Purpose, Reload, ReloadableFile},
    reload::{Reloadable, Source},
};

/// The paths of the PEM files of a client.
#[derive(Debug, Clone, Default)]
pub struct ClientFiles {
    /// The CA bundle that servers are verified with; without one, the system's trusted roots.
    pub ca: Option<PathBuf>,
    /// The client's certificate chain, its own first.
    pub cert: Option<PathBuf>,
    /// The certificate's private key.
    pub key: Option<PathBuf>,
}

/// The TLS configuration of a client, updated when its files change while [`watch`](Self::watch) runs.
pub struct ClientTls(Arc<Reloadable<Files>>);

struct Files {
    roots: Roots,
    pair: Option<ReloadableFile<CertifiedKey>>,
    alpn: Option<&'static [u8]>,
}

enum Roots {
    System(Arc<RootCertStore>),
    File(ReloadableFile<RootCertStore>),
}

impl ClientTls {
    /// Reads the files of a gRPC client; its configuration offers `h2` by ALPN.
    ///
    /// # Errors
    ///
    /// Returns an error if any file is invalid.
    pub fn load(files: ClientFiles) -> Result<Arc<Self>, TlsError> {
        Self::load_as(
            files,
            [Purpose::ServerCa, Purpose::ClientCertificate],
            certificates::client_pair,
            Some(ALPN_H2),
        )
    }

    /// Reads the files of an OTLP exporter; its configuration offers no protocol by ALPN, since that depends on the
    /// transport.
    ///
    /// # Errors
    ///
    /// Returns an error if any file is invalid.
    pub fn load_for_otlp(files: ClientFiles) -> Result<Arc<Self>, TlsError> {
        Self::load_as(files, [Purpose::OtlpCa, Purpose::OtlpCertificate], certificates::pair, None)
    }

    fn load_as(
        files: ClientFiles,
        [ca_purpose, pair_purpose]: [Purpose; 2],
        parse_pair: Parse<CertifiedKey>,
        alpn: Option<&'static [u8]>,
    ) -> Result<Arc<Self>, TlsError> {
        let pair = match (files.cert, files.key) {
            (Some(cert), Some(key)) => {
                let paths = vec![(Role::Certificate, cert), (Role::Key, key)];
                ReloadableFile::load(pair_purpose, paths, parse_pair).map(Some)
            }
            (None, None) => Ok(None),
            _ => Err(TlsError::IncompletePair),
        };
        let roots = match files.ca {
            Some(ca) => {
                ReloadableFile::load(ca_purpose, vec![(Role::Ca, ca)], certificates::roots).map(Roots::File)
            }
            None => system_roots().map(Roots::System),
        };
        let (roots, pair) = TlsError::both(roots, pair)?;
        Ok(Arc::new(Self(Reloadable::new(Files { roots, pair, alpn })?)))
    }

    /// Returns the current configuration. Call this for each new connection.
    #[must_use]
    pub fn config(&self) -> Arc<ClientConfig> {
        self.0.current()
    }

    /// Reads the files again every `interval`; never completes. Counts `kelvin.reloads` and records
    /// `kelvin.certificate.expiry` with `meter`.
    pub fn watch(&self, interval: Duration, meter: &Meter) -> impl Future<Output = ()> + Send + use<> {
        self.0.watch(interval, meter)
    }
}

/// Returns the certificates that the system trusts, or those of `SSL_CERT_FILE` and `SSL_CERT_DIR`.
fn system_roots() -> Result<Arc<RootCertStore>, TlsError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // A certificate that rustls cannot parse must not invalidate the others, which the administrator of the system chose.
    if roots.add_parsable_certificates(found.certs).0 == 0 {
        let reason = found.errors.first().map_or_else(|| "none is installed".into(), ToString::to_string);
        return Err(TlsError::NoSystemRoots(reason));
    }
    Ok(Arc::new(roots))
}

impl Source for Files {
    type Snapshot = ClientConfig;

    fn snapshot(&self) -> Result<Arc<ClientConfig>, TlsError> {
        let roots = match &self.roots {
            Roots::System(roots) => Arc::clone(roots),
            Roots::File(file) => file.value(),
        };
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots);
        let mut config = match &self.pair {
            Some(pair) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(pair.value()))),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = self.alpn.iter().map(|protocol| protocol.to_vec()).collect();
        // A resumed session would outlive the server's certificate.
        config.resumption = Resumption::disabled();
        Ok(Arc::new(config))
    }

    fn files(&mut self) -> Vec<&mut dyn Reload> {
        let mut files: Vec<&mut dyn Reload> = Vec::new();
        if let Roots::File(ca) = &mut self.roots {
            files.push(ca);
        }
        files.extend(self.pair.as_mut().map(|pair| pair as &mut dyn Reload));
        files
    }
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientTls").finish_non_exhaustive()
    }
}
