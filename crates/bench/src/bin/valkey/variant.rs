//! A Valkey, and how Kelvin reaches it.

use std::{fs, path::PathBuf, time::Duration};

use core_affinity::CoreId;
use kelvin_bench::files::Files;
use kelvin_store::{
    Acknowledge, AlertSettings, Credentials, Limits, Store, StoreConfig, StoreFactory, TlsPem, ValkeySettings,
};
use kelvin_testing::machine;
use kelvin_testing::{ValkeyServer, eventually, free_port};
use opentelemetry::metrics::{MeterProvider, noop::NoopMeterProvider};
use tokio::{
    runtime::{Builder, Runtime},
    sync::watch,
};

use crate::error::Result;

/// Readings kept of a sensor, and read back.
pub(crate) const HELD: usize = 10_000;

/// Valkey on its core, plain or with TLS and an append-only file.
pub(crate) struct Variant {
    pub(crate) server: ValkeyServer,
    pub(crate) runtime: Runtime,
    /// Valkey's, and this thread's.
    cores: [CoreId; 2],
    /// Where it speaks TLS, and its certificate.
    tls: Option<(u16, Files)>,
}

impl Variant {
    /// Starts it on its core, and leaves this thread on its own.
    pub(crate) fn start(secured: bool, core: CoreId, own: CoreId) -> Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let mut arguments = Vec::new();
        let mut tls = None;
        if secured {
            let files = Files::make()?;
            let file = |name| files.path(name).display().to_string();
            let port = free_port();
            for (option, value) in [
                ("--appendonly", "yes".to_owned()),
                ("--tls-port", port.to_string()),
                ("--tls-cert-file", file("server.crt")),
                ("--tls-key-file", file("server.key")),
                ("--tls-ca-cert-file", file("ca.crt")),
                ("--tls-auth-clients", "no".to_owned()),
            ] {
                arguments.extend([option.to_owned(), value]);
            }
            tls = Some((port, files));
        }
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        // A process starts on the core of the thread that starts it.
        machine::pin(core)?;
        let server = runtime.block_on(ValkeyServer::start(&arguments));
        machine::pin(own)?;
        Ok(Self { server, runtime, cores: [core, own], tls })
    }

    /// Starts a replica on the same core, and waits until it follows.
    pub(crate) fn replicate(&self) -> Result<ValkeyServer> {
        machine::pin(self.cores[0])?;
        let port = self.server.port.to_string();
        let replica = self.runtime.block_on(async {
            let replica = ValkeyServer::start(&["--replicaof", "127.0.0.1", &port]).await;
            eventually("the replica follows", async || {
                self.server.info("slave0").await.contains("state=online")
            })
            .await;
            replica
        });
        machine::pin(self.cores[1])?;
        Ok(replica)
    }

    pub(crate) fn secured(&self) -> bool {
        self.tls.is_some()
    }

    pub(crate) fn name(&self) -> &'static str {
        if self.secured() { "with TLS and append-only file" } else { "without TLS and append-only file" }
    }

    /// `host:port` for Kelvin.
    pub(crate) fn address(&self) -> String {
        self.tls.as_ref().map_or_else(|| self.server.address(), |(port, _)| format!("localhost:{port}"))
    }

    pub(crate) fn ca(&self) -> Option<PathBuf> {
        self.tls.as_ref().map(|(_, files)| files.path("ca.crt"))
    }

    /// A store as a server would open it.
    pub(crate) async fn open(&self) -> Result<Store> {
        let tls = self.ca().map(fs::read).transpose()?.map(|ca| TlsPem { ca, client: None });
        let settings = ValkeySettings {
            addresses: vec![self.address()],
            cluster: false,
            username: None,
            acknowledge: Acknowledge::Primary,
            prefix: ValkeySettings::PREFIX.to_owned(),
            partitions: ValkeySettings::PARTITIONS,
            timeout: Duration::from_secs(5),
            credentials: watch::channel(Credentials { password: None, tls }).1,
        };
        let limits = Limits {
            readings_per_sensor: HELD,
            sensors: 10_000_000,
            readings: 1_000_000_000,
            memory: usize::MAX,
            idle: Duration::from_hours(24),
            recent_window: 10,
        };
        let alerts = AlertSettings { low: Some(-40.0), high: Some(85.0), z_score: Some(3.5) };
        let meter = NoopMeterProvider::new().meter("bench");
        Ok(StoreFactory::new(StoreConfig::Valkey(settings), limits, alerts, &meter)?.open().await?)
    }

    /// Forgets all readings and counts.
    pub(crate) fn empty(&self) -> Result<()> {
        self.runtime.block_on(async {
            for command in [&["FLUSHALL", "SYNC"][..], &["CONFIG", "RESETSTAT"]] {
                self.server.query::<()>(command).await?;
            }
            Ok(())
        })
    }

    /// So many calls of a command since [`empty`](Self::empty).
    pub(crate) fn calls(&self, command: &str) -> Result<usize> {
        let text: String = self.runtime.block_on(self.server.query(&["INFO", "commandstats"]))?;
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:calls=")));
        Ok(line.and_then(|line| line.split(',').next()?.parse().ok()).unwrap_or(0))
    }

    /// Bytes it has allocated.
    pub(crate) fn memory(&self) -> Result<f64> {
        Ok(self.runtime.block_on(self.server.info("used_memory")).parse()?)
    }
}
