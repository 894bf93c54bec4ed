//! The settings of the Valkey store, and its files that may change.

use std::{fs, path::PathBuf, time::Duration};

use kelvin_app::SettingsError;
use kelvin_store::{Acknowledge as Wanted, Credentials, Kind, TlsPem, ValkeySettings};
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval},
};

use crate::config::{Acknowledge, Config, StoreKind};

/// The kind of store that `config` asks for, and what keeps its files up to date.
pub(crate) fn kind(config: &Config) -> Result<(Kind, Option<Reload>), SettingsError> {
    if config.store == StoreKind::Memory {
        return Ok((Kind::Memory, None));
    }
    let (sender, credentials) = watch::channel(read(config)?);
    let kind = Kind::Valkey(ValkeySettings {
        addresses: config.valkey_address.clone(),
        cluster: config.valkey_cluster,
        username: config.valkey_username.clone(),
        acknowledge: match config.valkey_acknowledge {
            Acknowledge::Primary => Wanted::Primary,
            Acknowledge::Replica => Wanted::Replica,
            Acknowledge::Fsync => Wanted::Fsync,
        },
        prefix: ValkeySettings::PREFIX.to_owned(),
        partitions: ValkeySettings::PARTITIONS,
        timeout: config.valkey_timeout,
        credentials,
    });
    Ok((kind, Some(Reload { config: config.clone(), sender })))
}

/// Hands changed files on to the store.
pub(crate) struct Reload {
    config: Config,
    sender: watch::Sender<Credentials>,
}

impl Reload {
    /// Looks at the files every `every`, for ever.
    pub(crate) async fn watch(self, every: Duration) {
        let mut ticks = interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let config = self.config.clone();
            match tokio::task::spawn_blocking(move || read(&config)).await {
                Ok(Ok(new)) => {
                    let changed = self.sender.send_if_modified(|current| {
                        let changed = *current != new;
                        *current = new;
                        changed
                    });
                    if changed {
                        tracing::info!("the password or the TLS files for Valkey have changed");
                    }
                }
                Ok(Err(error)) => {
                    tracing::warn!(%error, "cannot read the files for Valkey; the last ones stay in use");
                }
                Err(error) => tracing::error!(%error, "reading the files for Valkey panicked"),
            }
        }
    }
}

fn read(config: &Config) -> Result<Credentials, SettingsError> {
    let mut error = SettingsError::default();
    let mut file = |variable: &str, path: &Option<PathBuf>| {
        let path = path.as_ref()?;
        fs::read(path).map_err(|cause| error.push(variable, format_args!("{}: {cause}", path.display()))).ok()
    };
    let password = file("KELVIN_VALKEY_PASSWORD_FILE", &config.valkey_password_file);
    let ca = file("KELVIN_VALKEY_TLS_CA", &config.valkey_tls_ca);
    let cert = file("KELVIN_VALKEY_TLS_CERT", &config.valkey_tls_cert);
    let key = file("KELVIN_VALKEY_TLS_KEY", &config.valkey_tls_key);
    if !error.is_empty() {
        return Err(error);
    }
    let password = password.map(|bytes| String::from_utf8_lossy(&bytes).trim_end().to_owned());
    Ok(Credentials { password, tls: ca.map(|ca| TlsPem { ca, client: cert.zip(key) }) })
}
