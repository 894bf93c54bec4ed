//! The state that all runtimes of this process share.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

use kelvin_app::unix_time;
use opentelemetry::metrics::{Histogram, Meter};
use parking_lot::Mutex;
use redis::Value;

use super::{availability::Availability, keys::Keys, record::Record, settings::ValkeySettings, spans::Spans};
use crate::{
    AlertSettings, Limits,
    detector::Rules,
    instruments::{self, Operation, StoreKind},
};

/// How long the server that reports the totals holds the lease.
pub(super) const LEASE: Duration = Duration::from_secs(15);

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) limits: Limits,
    /// Milliseconds after which an idle sensor expires.
    pub(super) idle: f64,
    pub(super) rules: Rules,
    pub(super) keys: Keys,
    pub(super) counters: Counters,
    pub(super) totals: CachedTotals,
    pub(super) availability: Availability,
    pub(super) spans: Spans,
    duration: Histogram<f64>,
}

/// The readings and sensors that calls of this process removed.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) evicted: AtomicU64,
    pub(super) expired_readings: AtomicU64,
    pub(super) expired_sensors: AtomicU64,
}

/// The content of a partition, and the sensors that expired in the call that returns it.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Totals {
    pub(super) sensors: u64,
    pub(super) readings: u64,
    pub(super) expired_sensors: u64,
    pub(super) expired_readings: u64,
}

/// The totals of the whole store.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct StoreTotals {
    pub(super) sensors: u64,
    pub(super) readings: u64,
    pub(super) fullest: Option<NodeMemory>,
}

/// Bytes that a node uses, and how many it may: 0 for no limit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct NodeMemory {
    pub(super) used: u64,
    pub(super) limit: u64,
}

/// The totals as of the last count, known to the server that holds the lease.
#[derive(Debug, Default)]
pub(super) struct CachedTotals(Mutex<Option<(Instant, StoreTotals)>>);

impl Shared {
    pub(super) fn new(
        settings: &ValkeySettings,
        limits: Limits,
        alerts: &AlertSettings,
        meter: &Meter,
    ) -> Self {
        Self {
            idle: limits.idle.as_secs_f64() * 1e3,
            limits,
            rules: Rules::from(alerts),
            keys: Keys::new(&settings.prefix, settings.partitions),
            counters: Counters::default(),
            totals: CachedTotals::default(),
            availability: Availability::default(),
            spans: Spans::default(),
            duration: instruments::duration(meter),
        }
    }

    /// A sensor's record, unless the sensor is unknown or has expired.
    pub(super) fn record(&self, answer: Option<&Value>) -> Option<Record> {
        match answer {
            Some(Value::BulkString(bytes)) => self.unless_idle(Record::read(bytes)?),
            _ => None,
        }
    }

    /// Compares Valkey's clock with this machine's; the scripts go by Valkey's alone.
    pub(super) fn unless_idle(&self, record: Record) -> Option<Record> {
        (!record.is_idle(now(), self.idle)).then_some(record)
    }

    pub(super) fn time(&self, operation: Operation, start: Instant) {
        let attributes = [operation.into(), StoreKind::Valkey.into()];
        self.duration.record(start.elapsed().as_secs_f64(), &attributes);
    }
}

impl Counters {
    pub(super) fn add_expired(&self, totals: &Totals) {
        self.expired_sensors.fetch_add(totals.expired_sensors, Relaxed);
        self.expired_readings.fetch_add(totals.expired_readings, Relaxed);
    }
}

impl CachedTotals {
    /// The totals, if this server holds the lease.
    pub(super) fn get(&self) -> Option<StoreTotals> {
        let totals = *self.0.lock();
        totals.filter(|(when, _)| when.elapsed() < LEASE).map(|(_, totals)| totals)
    }

    pub(super) fn set(&self, totals: Option<StoreTotals>) {
        *self.0.lock() = totals.map(|totals| (Instant::now(), totals));
    }
}

impl NodeMemory {
    /// By the share of the limit. A node without one is less full than any other.
    pub(super) fn is_fuller(self, other: Self) -> bool {
        match (self.limit, other.limit) {
            (0, 0) => self.used > other.used,
            (0, _) => false,
            (_, 0) => true,
            (limit, other_limit) => {
                u128::from(self.used) * u128::from(other_limit) > u128::from(other.used) * u128::from(limit)
            }
        }
    }
}

/// Milliseconds since the epoch by this machine's clock.
pub(super) fn now() -> f64 {
    unix_time().as_secs_f64() * 1e3
}
