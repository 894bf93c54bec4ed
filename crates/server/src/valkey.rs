//! The settings of the Valkey store, and the reload of its files.

use std::{sync::Arc, time::Duration};

use kelvin_credentials::{SecretFiles, Secrets, StoreSecrets, TlsError};
use kelvin_store::{Credentials, StoreConfig, TlsPem, ValkeySettings};
use opentelemetry::metrics::Meter;
use tokio::sync::watch;

use crate::config::{Config, StoreKind};

/// Returns the configuration of the store that `config` selects, and the reload of its files if it has any.
pub(crate) fn kind(config: &Config) -> Result<(StoreConfig, Option<Reload>), TlsError> {
    if config.store == StoreKind::Memory {
        return Ok((StoreConfig::Memory, None));
    }
    let secrets = StoreSecrets::load(SecretFiles {
        password: config.valkey_password_file.clone(),
        ca: config.valkey_tls_ca.clone(),
        cert: config.valkey_tls_cert.clone(),
        key: config.valkey_tls_key.clone(),
    })?;
    if config.valkey_password_file.is_some() && config.valkey_tls_ca.is_none() {
        tracing::warn!(
            "connecting to Valkey without TLS: the password and readings can be read on the network"
        );
    }
    let (sender, credentials) = watch::channel(credentials(&secrets.current()));
    let kind = StoreConfig::Valkey(ValkeySettings {
        addresses: config.valkey_address.clone(),
        cluster: config.valkey_cluster,
        username: config.valkey_username.clone(),
        acknowledge: config.valkey_acknowledge,
        prefix: ValkeySettings::PREFIX.to_owned(),
        partitions: ValkeySettings::PARTITIONS,
        timeout: config.valkey_timeout,
        credentials,
    });
    Ok((kind, Some(Reload { secrets, sender })))
}

/// Sends the changed files to the store.
pub(crate) struct Reload {
    secrets: StoreSecrets,
    sender: watch::Sender<Credentials>,
}

impl Reload {
    /// Checks the files every `every` until it is dropped; counts `kelvin.reloads` with `meter`.
    pub(crate) fn watch(self, every: Duration, meter: &Meter) -> impl Future<Output = ()> + Send + use<> {
        let meter = meter.clone();
        async move {
            let Self { secrets, sender } = self;
            let changed = |secrets: Arc<Secrets>| {
                sender.send_replace(credentials(&secrets));
            };
            secrets.watch(every, &meter, changed).await;
        }
    }
}

fn credentials(Secrets { password, ca, pair }: &Secrets) -> Credentials {
    let tls = ca.clone().map(|ca| TlsPem { ca, client: pair.clone() });
    Credentials { password: password.clone(), tls }
}
