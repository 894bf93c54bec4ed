//! Readings on Valkey, shared by any number of servers.
//!
//! Sensors are hashed into a fixed number of partitions ([`keys`]). A runtime merges the readings of its calls
//! ([`merger`]) and stores them with one script call a partition ([`flush`]), then finds alerts among them
//! ([`alerts`]). [`nodes`] knows whom to ask; what is of unknown outcome is never sent again.

mod alerts;
mod availability;
mod check;
mod connect;
mod failure;
mod flush;
mod gauges;
mod keys;
mod list;
mod merger;
mod news;
mod nodes;
mod pending;
mod reader;
mod record;
mod scripts;
mod settings;
mod spans;
mod topology;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Instant, SystemTime},
};

use opentelemetry::{
    KeyValue,
    global::ObjectSafeTracer,
    metrics::{Histogram, Meter},
    trace::Span,
};
use redis::{Pipeline, Value};
use tokio::task::JoinSet;

pub(crate) use self::reader::ValkeyReader;
pub use self::settings::{Acknowledge, Credentials, TlsPem, ValkeySettings};
use self::{
    availability::Availability, failure::Failure, flush::Totals, gauges::Held, keys::Keys, merger::Merger,
    news::News, nodes::Nodes, record::Record, spans::Spans,
};
use crate::{AlertSettings, Batch, Limits, Report, StoreError, detector::Rules, instruments};

/// What all runtimes of this process share.
#[derive(Debug)]
pub(crate) struct Valkey {
    settings: ValkeySettings,
    shared: Arc<Shared>,
    counting: AtomicBool,
    commands: Histogram<f64>,
}

#[derive(Debug)]
struct Shared {
    limits: Limits,
    /// Milliseconds after which a sensor is forgotten.
    idle: f64,
    rules: Rules,
    keys: Keys,
    counters: Counters,
    held: Held,
    availability: Availability,
    spans: Spans,
    duration: Histogram<f64>,
}

/// What this process saw go.
#[derive(Debug, Default)]
struct Counters {
    evicted: AtomicU64,
    expired: AtomicU64,
    forgotten: AtomicU64,
}

/// The store of one runtime, with its own connections.
#[derive(Debug, Clone)]
pub(crate) struct ValkeyStore {
    shared: Arc<Shared>,
    nodes: Arc<Nodes>,
    merger: Arc<Merger>,
    news: News,
    /// End with the last clone.
    _tasks: Arc<JoinSet<()>>,
}

impl Valkey {
    pub(crate) fn new(
        settings: ValkeySettings,
        limits: Limits,
        alerts: &AlertSettings,
        meter: &Meter,
    ) -> Result<Self, StoreError> {
        check::settings(&settings)?;
        let shared = Arc::new(Shared {
            idle: limits.idle.as_secs_f64() * 1e3,
            limits,
            rules: Rules::from(alerts),
            keys: Keys::new(&settings.prefix, settings.partitions),
            counters: Counters::default(),
            held: Held::default(),
            availability: Availability::default(),
            spans: Spans::default(),
            duration: instruments::duration(meter),
        });
        gauges::observe(&shared, meter);
        Ok(Self {
            settings,
            shared,
            counting: AtomicBool::new(false),
            commands: instruments::commands(meter),
        })
    }

    pub(crate) fn trace(&self, tracer: impl ObjectSafeTracer + Send + Sync + 'static) {
        self.shared.spans.set(tracer);
    }

    /// Succeeds though Valkey may be away, but not if it is there and cannot do what is wanted.
    pub(crate) async fn open(&self) -> Result<ValkeyStore, StoreError> {
        let nodes = Arc::new(Nodes::new(self.settings.clone(), self.commands.clone()));
        let shared = Arc::clone(&self.shared);
        match check::layout(&nodes).await {
            Err(Failure::Unfit(why)) => return Err(StoreError::Settings(why)),
            looked => shared.availability.note(looked.as_ref().err().map(Failure::text)),
        }
        let (merger, news) = (Arc::new(Merger::new()), News::default());
        let mut tasks = JoinSet::new();
        tasks.spawn(Arc::clone(&merger).run(Arc::clone(&shared), Arc::clone(&nodes)));
        tasks.spawn(news.clone().keep(Arc::clone(&shared), Arc::clone(&nodes)));
        tasks.spawn(check::watch(Arc::clone(&shared), Arc::clone(&nodes)));
        tasks.spawn(renew(Arc::clone(&nodes)));
        if !self.counting.swap(true, Relaxed) {
            tasks.spawn(gauges::count(Arc::clone(&shared), Arc::clone(&nodes)));
        }
        Ok(ValkeyStore { shared, nodes, merger, news, _tasks: Arc::new(tasks) })
    }
}

impl ValkeyStore {
    pub(crate) async fn append(&self, batch: &Batch, report: &mut Report) -> Result<(), StoreError> {
        report.clear();
        if batch.is_empty() {
            return Ok(());
        }
        let start = Instant::now();
        let span = self.shared.spans.call(batch.len());
        let settled = self.merger.append(&self.shared, batch, span.as_ref().map(Span::span_context)).await;
        self.shared.time("append", start);
        let Ok(settled) = settled else {
            return Err(StoreError::Unavailable("the store is being closed".to_owned()));
        };
        spans::end(span, settled.failure.as_deref(), settled.flush);
        *report = settled.report;
        match settled.failure {
            None => Ok(()),
            Some(text) => Err(StoreError::Unavailable(text.to_string())),
        }
    }

    /// Whether this process holds the lease to report what the shared store holds.
    pub(crate) fn is_reporter(&self) -> bool {
        self.shared.held.get().is_some()
    }

    /// Asks something that changes nothing.
    async fn ask(
        &self,
        slot: u16,
        operation: &'static str,
        pipeline: &Pipeline,
    ) -> Result<Vec<Value>, StoreError> {
        let start = Instant::now();
        let answer = match check::layout(&self.nodes).await {
            Ok(()) => self.nodes.query(slot, operation, pipeline).await,
            Err(failure) => Err(failure),
        };
        self.shared.time("read", start);
        self.shared.availability.note(answer.as_ref().err().map(Failure::text));
        answer.map_err(|failure| StoreError::Unavailable(failure.text().to_owned()))
    }
}

impl Shared {
    /// A sensor's record, unless it is not known or has been idle too long.
    fn record(&self, answer: Option<&Value>) -> Option<Record> {
        match answer {
            Some(Value::BulkString(bytes)) => self.alive(Record::read(bytes)?),
            _ => None,
        }
    }

    /// The clocks of this machine and of Valkey's are taken for the same here; the scripts go by Valkey's alone.
    fn alive(&self, record: Record) -> Option<Record> {
        (!record.is_idle(now(), self.idle)).then_some(record)
    }

    fn time(&self, operation: &'static str, start: Instant) {
        let attributes = [KeyValue::new("operation", operation), KeyValue::new("kelvin.store", "valkey")];
        self.duration.record(start.elapsed().as_secs_f64(), &attributes);
    }
}

impl Counters {
    fn gone(&self, totals: &Totals) {
        self.forgotten.fetch_add(totals.forgotten, Relaxed);
        self.expired.fetch_add(totals.expired, Relaxed);
    }
}

/// New credentials make new connections, for ever.
async fn renew(nodes: Arc<Nodes>) {
    let mut credentials = nodes.settings().credentials.clone();
    while credentials.changed().await.is_ok() {
        tracing::info!("connecting to the store anew with changed credentials");
        nodes.reset();
    }
    // Nobody changes them any more.
    std::future::pending::<()>().await;
}

/// Milliseconds since the epoch by this machine's clock.
fn now() -> f64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    now.as_secs_f64() * 1e3
}

fn text(value: &Value) -> Option<&str> {
    match value {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok(),
        Value::SimpleString(text) => Some(text),
        _ => None,
    }
}
