//! TLS of OTLP exporters.

use std::{fmt, sync::Arc, time::Duration};

use kelvin_app::{NamedFile, SettingsError, TlsFiles, error_chain};
use opentelemetry::metrics::Meter;
use parking_lot::Mutex;
use rustls::ClientConfig;
use tokio::task::JoinSet;

use crate::{ClientFiles, ClientTls, Role, TlsError};

/// A function that returns the current configuration. Call it for each new connection.
pub type CurrentConfig = Arc<dyn Fn() -> Arc<ClientConfig> + Send + Sync>;

/// The TLS configurations of a program's OTLP exporters, updated when their files change while [`watch`](Self::watch) runs.
#[derive(Clone, Default)]
pub struct OtlpTls(Arc<Mutex<Vec<Arc<ClientTls>>>>);

impl OtlpTls {
    /// Reads the files of one exporter.
    ///
    /// # Errors
    ///
    /// Returns an error if any file is invalid. It names the variable of each invalid file.
    pub fn load(&self, files: &TlsFiles) -> Result<CurrentConfig, SettingsError> {
        let path = |file: &Option<NamedFile>| file.as_ref().map(|file| file.path.clone());
        let paths = ClientFiles { ca: path(&files.ca), cert: path(&files.cert), key: path(&files.key) };
        let tls = ClientTls::load_for_otlp(paths).map_err(|cause| error(files, cause))?;
        self.0.lock().push(Arc::clone(&tls));
        Ok(Arc::new(move || tls.config()))
    }

    /// Reads all files again every `interval`, as [`ClientTls::watch`] does. Ends at once if no exporter uses TLS.
    pub fn watch(&self, interval: Duration, meter: &Meter) -> impl Future<Output = ()> + Send + use<> {
        let watches: Vec<_> = self.0.lock().iter().map(|tls| tls.watch(interval, meter)).collect();
        async move {
            let mut watches: JoinSet<()> = watches.into_iter().collect();
            while watches.join_next().await.is_some() {}
        }
    }
}

fn error(files: &TlsFiles, cause: TlsError) -> SettingsError {
    let mut error = SettingsError::default();
    for cause in cause.each() {
        let (file, default) = match cause.role() {
            Role::Ca => (&files.ca, "OTEL_EXPORTER_OTLP_CERTIFICATE"),
            Role::Key | Role::ExternalKey => (&files.key, "OTEL_EXPORTER_OTLP_CLIENT_KEY"),
            // An exporter has no tokens and no password file.
            Role::Certificate | Role::ExternalCertificate | Role::Tokens | Role::Password => {
                (&files.cert, "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE")
            }
        };
        error.push(file.as_ref().map_or(default, |file| &file.variable), error_chain(&cause));
    }
    error
}

impl fmt::Debug for OtlpTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OtlpTls").finish_non_exhaustive()
    }
}
