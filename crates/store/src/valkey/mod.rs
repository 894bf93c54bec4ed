//! Readings on Valkey, shared by any number of servers.
//!
//! Sensors are hashed into a fixed number of partitions ([`keys`]); all keys of a partition have one hash tag, so that
//! one script call can change them together. `docs/store.md` describes the layout of the data.
//!
//! # One write
//!
//! ```text
//!  call A   call B   call C          one batch each
//!     └────────┼────────┘
//!              ▼
//!  write::pending                    grouped by sensor; remembers which reading came from which call
//!              │                     write::coalescer decides when a flush starts: at once if none is in flight
//!              ▼
//!  write::flush                      plan   → script calls of at most 128 sensors, one slot each in a cluster
//!      ┌─▶ route                     slot   → node                                   (cluster::slots)
//!      │   send                      one pipeline per node, `WAIT`/`WAITAOF` last     (write::append, cluster::pool)
//!      └── classify                  stored or rejected │ certainly not executed: again │ unknown: fails
//!              ▼
//!  scripts/append.lua                stream, statistics, index, totals and notification in one step
//!              ▼
//!  alerts                            compares with each sensor's history, sets alert states by compare-and-set
//!              ▼
//!  write::pending                    completes every call with its own report
//! ```
//!
//! A write whose outcome is unknown (timeout, broken connection, an error from within the script) is never sent again:
//! it may have been executed, and a second execution would store the readings twice. The rule has one place,
//! `classify` in [`write`].
//!
//! # One read
//!
//! ```text
//!  ValkeyReader::next                holds the next sequence number
//!      ▼
//!  cluster::layout                   first use only: does Valkey hold as many partitions as this server expects?
//!      ▼
//!  Nodes::execute_retrying           reads change nothing, so they are retried until the timeout
//!      ▼
//!  scripts/range.lua                 record and stream entries in one answer; the next answer is already on its way
//!      ▼
//!  notify                            a follower that has everything sleeps until `SPUBLISH` names its sensor, or 1 s
//! ```
//!
//! # Modules
//!
//! | module | holds |
//! |---|---|
//! | [`cluster`] | which node serves which slot, connections, what an error means for a retry |
//! | [`write`] | from a batch to its report |
//! | [`read`] | readers, statistics, pages of sensors |
//! | [`notify`] | subscriptions that wake followers |
//! | [`alerts`] | where an alert begins or ends |
//! | [`scripts`] | Lua that runs in Valkey |
//! | [`monitor`], [`gauges`] | background tasks |
//! | [`shared`] | what all runtimes of the process share |
//!
//! Each uses only modules below it: `write` → `alerts` → `cluster`; `read` → `notify` → `cluster`; all → `shared`.

mod alerts;
mod availability;
mod cluster;
mod gauges;
mod keys;
mod monitor;
mod notify;
mod read;
mod record;
mod scripts;
mod settings;
mod shared;
mod spans;
mod value;
mod write;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Instant,
};

use opentelemetry::{
    global::ObjectSafeTracer,
    metrics::{Histogram, Meter},
    trace::Span,
};
use tokio::task::JoinSet;

pub(crate) use self::read::ValkeyReader;
pub use self::settings::{Acknowledge, Credentials, TlsPem, ValkeySettings};
use self::{
    cluster::{Failure, Nodes},
    notify::Notifications,
    read::ReadHandle,
    shared::Shared,
    write::WriteCoalescer,
};
use crate::{
    AlertSettings, Batch, Limits, Page, Query, Report, Stats, StoreError,
    instruments::{self, Operation},
};

/// The state that all runtimes of this process share.
#[derive(Debug)]
pub(crate) struct Valkey {
    settings: ValkeySettings,
    shared: Arc<Shared>,
    /// One runtime of the process competes for the lease of [`gauges`].
    reports_totals: AtomicBool,
    commands: Histogram<f64>,
}

/// The store of one runtime, with its own connections.
#[derive(Debug, Clone)]
pub(crate) struct ValkeyStore {
    read: ReadHandle,
    write: Arc<WriteCoalescer>,
    /// Aborted when the last clone is dropped.
    _tasks: Arc<JoinSet<()>>,
}

impl Valkey {
    pub(crate) fn new(
        settings: ValkeySettings,
        limits: Limits,
        alerts: &AlertSettings,
        meter: &Meter,
    ) -> Result<Self, StoreError> {
        cluster::validate(&settings)?;
        let shared = Arc::new(Shared::new(&settings, limits, alerts, meter));
        gauges::observe(&shared, meter);
        Ok(Self {
            settings,
            shared,
            reports_totals: AtomicBool::new(false),
            commands: instruments::commands(meter),
        })
    }

    pub(crate) fn trace(&self, tracer: impl ObjectSafeTracer + Send + Sync + 'static) {
        self.shared.spans.set(tracer);
    }

    /// Succeeds while Valkey is unreachable; fails if it is reachable and incompatible.
    pub(crate) async fn open(&self) -> Result<ValkeyStore, StoreError> {
        let nodes = Arc::new(Nodes::new(self.settings.clone(), self.commands.clone()));
        let shared = Arc::clone(&self.shared);
        match nodes.ensure_layout().await {
            Err(Failure::Incompatible(why)) => return Err(StoreError::Settings(why)),
            verified => shared.availability.note(verified.as_ref().err().map(Failure::text)),
        }
        let (write, notifications) = (Arc::new(WriteCoalescer::new()), Notifications::default());
        let mut tasks = JoinSet::new();
        tasks.spawn(Arc::clone(&write).run(Arc::clone(&shared), Arc::clone(&nodes)));
        tasks.spawn(notifications.clone().run(Arc::clone(&shared), Arc::clone(&nodes)));
        tasks.spawn(monitor::watch(Arc::clone(&shared), Arc::clone(&nodes)));
        tasks.spawn(monitor::reconnect_on_credential_change(Arc::clone(&nodes)));
        if !self.reports_totals.swap(true, Relaxed) {
            tasks.spawn(gauges::report_totals(Arc::clone(&shared), Arc::clone(&nodes)));
        }
        let read = ReadHandle { shared, nodes, notifications };
        Ok(ValkeyStore { read, write, _tasks: Arc::new(tasks) })
    }
}

impl ValkeyStore {
    pub(crate) async fn append(&self, batch: &Batch, report: &mut Report) -> Result<(), StoreError> {
        report.clear();
        if batch.is_empty() {
            return Ok(());
        }
        let (shared, start) = (&self.read.shared, Instant::now());
        let span = shared.spans.call(batch.len());
        let completed = self.write.append(shared, batch, span.as_ref().map(Span::span_context)).await;
        shared.time(Operation::Append, start);
        let Ok(completed) = completed else {
            return Err(StoreError::Unavailable("the store is being closed".to_owned()));
        };
        spans::end(span, completed.failure.as_deref(), completed.flush);
        *report = completed.report;
        match completed.failure {
            None => Ok(()),
            Some(text) => Err(StoreError::Unavailable(text.to_string())),
        }
    }

    pub(crate) async fn read(&self, sensor_id: &str, query: &Query) -> Result<ValkeyReader, StoreError> {
        ValkeyReader::new(&self.read, sensor_id, query).await
    }

    pub(crate) async fn stats(&self, sensor_id: &str) -> Result<Option<Stats>, StoreError> {
        self.read.stats(sensor_id).await
    }

    pub(crate) async fn list(&self, page_token: &str, page_size: usize) -> Result<Page, StoreError> {
        self.read.list(page_token, page_size).await
    }

    /// Returns whether this process holds the lease to report the totals of the shared store.
    pub(crate) fn is_reporter(&self) -> bool {
        self.read.shared.totals.get().is_some()
    }
}
