//! The settings of the demo's server and clients.

use std::net::SocketAddr;

use clap::ValueEnum as _;
use kelvin_app::{
    SettingsError,
    settings::{PREFIX, environment},
};
use kelvin_proto::CallType;

use super::{
    arguments::{Arguments, Store},
    credentials_dir::CredentialsDir,
};

/// The server, on loopback.
pub(super) fn server(
    dir: &CredentialsDir,
    arguments: &Arguments,
) -> Result<kelvin_server::Config, SettingsError> {
    let store = arguments.store.to_possible_value().expect("no store is hidden");
    let own = [
        ("LISTEN", format!("127.0.0.1:{}", arguments.port)),
        ("HEALTH_LISTEN", "127.0.0.1:0".into()),
        ("TLS_CERT", dir.path("server.crt")),
        ("TLS_KEY", dir.path("server.key")),
        ("TLS_CLIENT_CA", dir.path("ca.crt")),
        // So that the command line that is shown needs no certificate.
        ("MTLS", "optional".into()),
        ("TOKEN_FILE", dir.path("token")),
        // As Iglewicz and Hoaglin recommend (How to Detect and Handle Outliers, 1993): an alert occurs soon.
        ("ALERT_Z_SCORE", "3.5".into()),
        ("STORE", store.get_name().into()),
        ("DRAIN_DELAY", "0s".into()),
        ("DRAIN_TIMEOUT", "2s".into()),
    ];
    let of_valkey = environment()
        .filter(|(name, _)| matches!(arguments.store, Store::Valkey) && name.starts_with("KELVIN_VALKEY_"));
    kelvin_server::Config::from_pairs(own.map(with_prefix).into_iter().chain(of_valkey))
}

/// A client that calls several times a second, with streams short enough to watch them end.
pub(super) fn client(
    dir: &CredentialsDir,
    server: SocketAddr,
    kind: CallType,
) -> Result<kelvin_client::Config, SettingsError> {
    let name = kind.name();
    let pairs = [
        ("CLIENT_RPC", name.into()),
        ("SERVER", format!("https://{server}")),
        ("TLS_CA", dir.path("ca.crt")),
        ("TLS_CERT", dir.path(&format!("{name}.crt"))),
        ("TLS_KEY", dir.path(&format!("{name}.key"))),
        ("TOKEN_FILE", dir.path("token")),
        ("SENSORS", "2".into()),
        ("INTERVAL_MIN", "50ms".into()),
        ("INTERVAL_MAX", "250ms".into()),
        ("STREAM_DURATION", "3s".into()),
        ("DRAIN_TIMEOUT", "2s".into()),
    ];
    kelvin_client::Config::from_pairs(pairs.map(with_prefix))
}

fn with_prefix((name, value): (&str, String)) -> (String, String) {
    (format!("{PREFIX}{name}"), value)
}
