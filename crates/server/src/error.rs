use std::{io, net::SocketAddr};

use kelvin_app::SettingsError;
use kelvin_store::StoreError;

/// The reason why a server cannot start or continue.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// Settings that cannot work, such as files that cannot be read.
    #[error("{0}")]
    Settings(#[from] SettingsError),
    /// An address cannot be listened on.
    #[error("cannot listen on {address} ({variable}{hint})", hint = hint(source))]
    Listen {
        /// The setting.
        variable: &'static str,
        /// Its value.
        address: SocketAddr,
        /// The cause.
        source: io::Error,
    },
    /// The store cannot be opened.
    #[error("cannot open the store")]
    Store(#[source] StoreError),
    /// The system gives no thread or no runtime.
    #[error("cannot start a worker")]
    Worker(#[source] io::Error),
    /// A worker ended before shutdown.
    #[error("worker {0} stopped unexpectedly; see the server log")]
    WorkerLost(usize),
}

impl From<StoreError> for ServerError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Settings(text) => {
                let mut settings = SettingsError::default();
                settings.push("KELVIN_STORE", text);
                settings.into()
            }
            error => Self::Store(error),
        }
    }
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => "; stop the process that uses it or choose another port",
        io::ErrorKind::PermissionDenied => "; ports below 1024 need root or CAP_NET_BIND_SERVICE",
        _ => "",
    }
}
