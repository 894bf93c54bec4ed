//! The client's credentials and the CAs that it verifies the server with, reloaded when the files change.

use std::sync::Arc;

use http::{HeaderValue, Request, header::AUTHORIZATION};
use kelvin_app::{SettingsError, error_chain};
use kelvin_credentials::{ClientFiles, ClientTls, Role, TlsError, Tokens};
use opentelemetry::metrics::Meter;
use tokio::task::JoinSet;
use tokio_rustls::rustls::pki_types::ServerName;
use tonic::body::Body;

use super::connection::Tls;
use crate::Config;

pub(super) struct Credentials {
    pub(super) tls: Tls,
    pub(super) tokens: Option<Arc<Tokens>>,
}

impl Credentials {
    /// Reads the files; `tasks` watch them for changes.
    pub(super) fn load(
        config: &Config,
        meter: &Meter,
        tasks: &mut JoinSet<()>,
    ) -> Result<Self, SettingsError> {
        let credentials = Self::read(config)?;
        if let Some((tls, _)) = &credentials.tls {
            tasks.spawn(tls.watch(config.reload_interval, meter));
        }
        if let Some(tokens) = &credentials.tokens {
            tasks.spawn(tokens.watch(config.reload_interval, meter));
        }
        Ok(credentials)
    }

    /// Reads the files once. A file that cannot be used is a configuration error.
    fn read(config: &Config) -> Result<Self, SettingsError> {
        let mut error = SettingsError::default();
        let tls = if config.tls() {
            tls(config, &mut error)
        } else {
            tracing::warn!("readings and tokens cross the network in the clear: KELVIN_SERVER is not https");
            None
        };
        let tokens = config.token_file.as_ref();
        let tokens = tokens.and_then(|path| Tokens::load(path).map_err(|cause| push(&mut error, cause)).ok());
        if error.is_empty() { Ok(Self { tls, tokens }) } else { Err(error) }
    }
}

impl Config {
    /// Checks that the files that the settings name can be used. The error names all that cannot.
    pub fn check_files(&self) -> Result<(), SettingsError> {
        Credentials::read(self).map(drop)
    }
}

fn tls(config: &Config, error: &mut SettingsError) -> Tls {
    let name = config.tls_server_name.as_deref().unwrap_or(config.host_and_port().0).to_owned();
    let name = ServerName::try_from(name)
        .map_err(|_| error.push("KELVIN_TLS_SERVER_NAME", "must be a DNS name or an IP address"));
    let files =
        ClientFiles { ca: config.tls_ca.clone(), cert: config.tls_cert.clone(), key: config.tls_key.clone() };
    let tls = ClientTls::load(files).map_err(|cause| push(error, cause));
    Some((tls.ok()?, name.ok()?))
}

/// Adds each of the errors to the setting that names its file.
fn push(error: &mut SettingsError, cause: TlsError) {
    for cause in cause.each() {
        error.push(variable(cause.role()), error_chain(&cause));
    }
}

/// Returns the setting that names the file of this role.
fn variable(role: Role) -> &'static str {
    match role {
        Role::Ca => "KELVIN_TLS_CA",
        Role::Key | Role::ExternalKey => "KELVIN_TLS_KEY",
        Role::Tokens => "KELVIN_TOKEN_FILE",
        // A client has no password file.
        Role::Certificate | Role::ExternalCertificate | Role::Password => "KELVIN_TLS_CERT",
    }
}

/// Adds the current token to the request.
pub(super) fn authorize(mut request: Request<Body>, tokens: Option<&Tokens>) -> Request<Body> {
    if let Some(tokens) = tokens {
        let token = HeaderValue::try_from(tokens.first());
        let mut token = token.expect("tokens are visible ASCII, or they are not loaded");
        token.set_sensitive(true);
        request.headers_mut().insert(AUTHORIZATION, token);
    }
    request
}
