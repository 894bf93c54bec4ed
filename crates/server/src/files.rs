use std::sync::Arc;

use kelvin_app::SettingsError;
use kelvin_credentials::{ClientAuth, Role, ServerFiles, ServerTls, TlsError, Tokens};
use kelvin_store::StoreConfig;

use crate::{
    config::{Config, Mtls},
    valkey,
};

/// The TLS configuration unless TLS is disabled, the tokens if there are any, and the store with its files.
pub(crate) type Files = (Option<Arc<ServerTls>>, Option<Arc<Tokens>>, (StoreConfig, Option<valkey::Reload>));

/// Reads the files that the settings name. A file that cannot be used is a configuration error, which names all such
/// files.
pub(crate) fn load(config: &Config) -> Result<Files, SettingsError> {
    let mut error = SettingsError::default();
    let mut note = |peer, cause: TlsError| {
        for cause in cause.each() {
            error.push(variable(peer, cause.role()), kelvin_app::error_chain(&cause));
        }
    };
    let tls = match (&config.tls_cert, &config.tls_key) {
        (Some(cert), Some(key)) if !config.plaintext => {
            let client_auth = match config.mtls {
                Mtls::None => ClientAuth::None,
                Mtls::Optional => ClientAuth::Optional,
                Mtls::Required => ClientAuth::Required,
            };
            let client_ca = config.tls_client_ca.clone();
            let external = config.tls_external_cert.clone().zip(config.tls_external_key.clone());
            let files = ServerFiles { cert: cert.clone(), key: key.clone(), external, client_ca };
            ServerTls::load(files, client_auth).map_err(|cause| note(Peer::Client, cause)).ok()
        }
        _ => {
            tracing::warn!("serving without TLS: tokens and readings can be read on the network");
            None
        }
    };
    let tokens = config.token_file.as_ref();
    let tokens = tokens.and_then(|path| Tokens::load(path).map_err(|cause| note(Peer::Client, cause)).ok());
    match valkey::kind(config).map_err(|cause| note(Peer::Valkey, cause)) {
        Ok(store) if error.is_empty() => Ok((tls, tokens, store)),
        _ => Err(error),
    }
}

impl Config {
    /// Checks that the files that the settings name can be used. The error names all that cannot.
    pub fn check_files(&self) -> Result<(), SettingsError> {
        load(self).map(drop)
    }
}

/// The other end of the connections that a file is for.
#[derive(Clone, Copy)]
enum Peer {
    Client,
    Valkey,
}

/// Returns the setting that names the file of this role.
fn variable(peer: Peer, role: Role) -> &'static str {
    match (peer, role) {
        (Peer::Client, Role::Certificate) => "KELVIN_TLS_CERT",
        (Peer::Client, Role::Key) => "KELVIN_TLS_KEY",
        (Peer::Client, Role::Ca) => "KELVIN_TLS_CLIENT_CA",
        (Peer::Valkey, Role::Certificate) => "KELVIN_VALKEY_TLS_CERT",
        (Peer::Valkey, Role::Key) => "KELVIN_VALKEY_TLS_KEY",
        (Peer::Valkey, Role::Ca) => "KELVIN_VALKEY_TLS_CA",
        // Only one of the peers has a file of these roles.
        (_, Role::ExternalCertificate) => "KELVIN_TLS_EXTERNAL_CERT",
        (_, Role::ExternalKey) => "KELVIN_TLS_EXTERNAL_KEY",
        (_, Role::Tokens) => "KELVIN_TOKEN_FILE",
        (_, Role::Password) => "KELVIN_VALKEY_PASSWORD_FILE",
    }
}
