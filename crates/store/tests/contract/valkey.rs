use kelvin_testing::{ValkeyServer, valkey::cluster};
use std::{
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    time::Duration,
};

use kelvin_store::{
    Acknowledge, AlertSettings, Credentials, Limits, StoreConfig, StoreFactory, ValkeySettings,
};
use opentelemetry::metrics::{MeterProvider, noop::NoopMeterProvider};
use tokio::sync::watch;

use crate::maker::Maker;

/// Stores on one server or cluster, separated by a prefix.
pub(crate) struct Valkey {
    nodes: Vec<ValkeyServer>,
    stores: AtomicUsize,
}

impl Valkey {
    pub(crate) async fn alone() -> Self {
        Self { nodes: vec![ValkeyServer::start(&[]).await], stores: AtomicUsize::new(0) }
    }

    pub(crate) async fn cluster() -> Self {
        Self { nodes: cluster(3, 0, &[]).await, stores: AtomicUsize::new(0) }
    }
}

impl Maker for Valkey {
    async fn make(&self, limits: Limits, alerts: AlertSettings) -> StoreFactory {
        let settings = ValkeySettings {
            addresses: self.nodes.iter().map(ValkeyServer::address).collect(),
            cluster: self.nodes.len() > 1,
            username: None,
            acknowledge: Acknowledge::Primary,
            prefix: format!("test-{}", self.stores.fetch_add(1, Relaxed)),
            // Each has its share of the bounds; small ones are exact in one.
            partitions: if limits.sensors < 16 { 1 } else { 16 },
            timeout: Duration::from_secs(5),
            credentials: watch::channel(Credentials::default()).1,
        };
        let meter = NoopMeterProvider::new().meter("test");
        StoreFactory::new(StoreConfig::Valkey(settings), limits, alerts, &meter)
            .expect("the settings are valid")
    }
}
