//! Server-side TLS: the server's certificates, and the CAs that client certificates are verified with.

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use opentelemetry::metrics::Meter;
use rustls::{
    RootCertStore, ServerConfig,
    server::{NoServerSessionStorage, WebPkiClientVerifier, danger::ClientCertVerifier},
    sign::CertifiedKey,
};
use rustls_pki_types::{CertificateDer, UnixTime};
use tokio::time::sleep;

use crate::{
    Role, TlsError, certificates,
    crypto::{ALPN_H2, provider},
    file::{Purpose, Reload, ReloadableFile},
    reload::{Reloadable, Source},
    sni::Certificates,
    usage::next_expiry,
};

/// Whether clients have to present a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientAuth {
    /// No certificate is requested.
    None,
    /// A certificate is optional; if a client presents one, it must be valid.
    Optional,
    /// A valid certificate is required.
    Required,
}

/// The paths of the PEM files of a server.
#[derive(Debug, Clone)]
pub struct ServerFiles {
    /// The certificate chain, the server's own first.
    pub cert: PathBuf,
    /// The certificate's private key.
    pub key: PathBuf,
    /// A second certificate chain and its key, for the names that clients outside the cluster connect to.
    pub external: Option<(PathBuf, PathBuf)>,
    /// The CA bundle that client certificates are verified with.
    pub client_ca: Option<PathBuf>,
}

/// The TLS configuration of a server, updated when its files change while [`watch`](Self::watch) runs.
pub struct ServerTls(Arc<Reloadable<Files>>);

struct Files {
    client_auth: ClientAuth,
    pair: ReloadableFile<CertifiedKey>,
    external: Option<ReloadableFile<CertifiedKey>>,
    client_ca: Option<ReloadableFile<RootCertStore>>,
}

struct Snapshot {
    config: Arc<ServerConfig>,
    verifier: Arc<dyn ClientCertVerifier>,
}

/// Clocks are adjusted occasionally, so a longer sleep could miss the expiry of a certificate.
const MAX_SLEEP: Duration = Duration::from_hours(1);

impl ServerTls {
    /// Reads the files.
    ///
    /// # Errors
    ///
    /// Returns an error if any file is invalid.
    pub fn load(files: ServerFiles, client_auth: ClientAuth) -> Result<Arc<Self>, TlsError> {
        let client_ca = match (client_auth, files.client_ca) {
            (ClientAuth::None, _) => Ok(None),
            (_, None) => Err(TlsError::NoClientCa),
            (_, Some(path)) => {
                ReloadableFile::load(Purpose::ClientCa, vec![(Role::Ca, path)], certificates::roots).map(Some)
            }
        };
        let pair = vec![(Role::Certificate, files.cert), (Role::Key, files.key)];
        let pair = ReloadableFile::load(Purpose::ServerCertificate, pair, certificates::server_pair);
        let external = files.external.map(|(cert, key)| {
            let external = vec![(Role::ExternalCertificate, cert), (Role::ExternalKey, key)];
            ReloadableFile::load(Purpose::ExternalCertificate, external, certificates::server_pair)
        });
        let ((client_ca, pair), external) =
            TlsError::both(TlsError::both(client_ca, pair), external.transpose())?;
        Ok(Arc::new(Self(Reloadable::new(Files { client_auth, pair, external, client_ca })?)))
    }

    /// Returns the current configuration. Call this for each new connection.
    #[must_use]
    pub fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.0.current().config)
    }

    /// Completes when the certificate chain that a client presented is no longer accepted, with the reason: it has
    /// expired, or its CA has been removed from the bundle.
    pub async fn client_rejected(&self, chain: &[CertificateDer<'_>]) -> rustls::Error {
        let mut changes = self.0.changes();
        loop {
            changes.mark_unchanged();
            let Some((leaf, intermediates)) = chain.split_first() else { std::future::pending().await };
            let now = UnixTime::now();
            if let Err(error) = self.0.current().verifier.verify_client_cert(leaf, intermediates, now) {
                return error;
            }
            let expiry = next_expiry(chain, now).map_or(MAX_SLEEP, |left| left.min(MAX_SLEEP));
            tokio::select! {
                _ = changes.changed() => {}
                () = sleep(expiry) => {}
            }
        }
    }

    /// Reads the files again every `interval`; never completes. Counts `kelvin.reloads` and records
    /// `kelvin.certificate.expiry` with `meter`.
    pub fn watch(&self, interval: Duration, meter: &Meter) -> impl Future<Output = ()> + Send + use<> {
        self.0.watch(interval, meter)
    }
}

impl Source for Files {
    type Snapshot = Snapshot;

    fn snapshot(&self) -> Result<Arc<Snapshot>, TlsError> {
        let verifier = self.client_verifier()?;
        let external = self.external.as_ref().map(ReloadableFile::value);
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(Arc::clone(&verifier))
            .with_cert_resolver(Arc::new(Certificates::new(self.pair.value(), external)));
        config.alpn_protocols = vec![ALPN_H2.into()];
        // A resumed session would outlive a client's certificate and its CA.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Arc::new(Snapshot { config: Arc::new(config), verifier }))
    }

    fn files(&mut self) -> Vec<&mut dyn Reload> {
        let mut files: Vec<&mut dyn Reload> = vec![&mut self.pair];
        files.extend(self.external.as_mut().map(|external| external as &mut dyn Reload));
        files.extend(self.client_ca.as_mut().map(|client_ca| client_ca as &mut dyn Reload));
        files
    }
}

impl Files {
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
