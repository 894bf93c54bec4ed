use std::sync::Arc;

use kelvin_app::SettingsError;
use kelvin_credentials::{ClientAuth, ServerFiles, ServerTls, TlsError, Tokens};

use crate::config::{Config, Mtls};

/// TLS, unless it is switched off, and the tokens, if there are any.
pub(crate) type Files = (Option<Arc<ServerTls>>, Option<Arc<Tokens>>);

/// Reads the files that the settings name. What cannot be used is a wrong setting.
pub(crate) fn load(config: &Config) -> Result<Files, SettingsError> {
    let mut error = SettingsError::default();
    let mut note = |variable: &str, cause: TlsError| error.push(variable, kelvin_app::error_chain(&cause));
    let tls = match (&config.tls_cert, &config.tls_key) {
        (Some(cert), Some(key)) if !config.plaintext => {
            let client_auth = match config.mtls {
                Mtls::None => ClientAuth::None,
                Mtls::Optional => ClientAuth::Optional,
                Mtls::Required => ClientAuth::Required,
            };
            let client_ca = config.tls_client_ca.clone();
            let files = ServerFiles { cert: cert.clone(), key: key.clone(), client_ca };
            ServerTls::load(files, client_auth)
                .map_err(|cause| note(tls_variable(config, &cause), cause))
                .ok()
        }
        _ => {
            tracing::warn!("serving without TLS: tokens and readings can be read on the network");
            None
        }
    };
    let tokens = config
        .token_file
        .as_ref()
        .and_then(|path| Tokens::load(path).map_err(|cause| note("KELVIN_TOKEN_FILE", cause)).ok());
    if error.is_empty() { Ok((tls, tokens)) } else { Err(error) }
}

/// The setting that a file at fault comes from.
fn tls_variable(config: &Config, cause: &TlsError) -> &'static str {
    match cause {
        TlsError::File { path, .. } if config.tls_key.as_ref() == Some(path) => "KELVIN_TLS_KEY",
        TlsError::File { path, .. } if config.tls_client_ca.as_ref() == Some(path) => "KELVIN_TLS_CLIENT_CA",
        TlsError::Mismatch { .. } => "KELVIN_TLS_KEY",
        TlsError::NoClientCa => "KELVIN_TLS_CLIENT_CA",
        _ => "KELVIN_TLS_CERT",
    }
}
