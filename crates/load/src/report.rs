use std::{collections::BTreeMap, fmt, time::Duration};

use serde::{Serialize, Serializer};

use kelvin_proto::CallType;

use crate::tally::{CallTypeTally, Tally};

/// The results of a run.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// By type of call, if calls of that type were made.
    pub rpc: BTreeMap<&'static str, Stats>,
    /// The length of the measurement, in seconds.
    pub seconds: f64,
    /// Calls that did not end within five seconds after that.
    pub unfinished: u64,
}

/// The results of one type of call.
#[derive(Debug, Clone, Serialize)]
pub struct Stats {
    /// Calls that ended with OK.
    pub calls: u64,
    /// Calls per second.
    pub calls_per_second: f64,
    /// Readings stored or read.
    pub readings: u64,
    /// Readings per second.
    pub readings_per_second: f64,
    /// Readings that were sent and not stored.
    pub rejected: u64,
    /// The median latency, in milliseconds: of a call that ended with OK; in a chat, from sending a frame of readings until
    /// all of them are acknowledged.
    pub p50_ms: f64,
    /// The 90th percentile of the latency.
    pub p90_ms: f64,
    /// The 99th percentile of the latency.
    pub p99_ms: f64,
    /// The 99.9th percentile of the latency.
    pub p99_9_ms: f64,
    /// Failed calls, by name of the status.
    pub errors: BTreeMap<&'static str, Failures>,
}

/// Calls that ended with the same status. Becomes a number in JSON.
#[derive(Debug, Clone)]
pub struct Failures {
    /// The number of calls.
    pub count: u64,
    /// The status message of the first.
    pub message: String,
}

/// The progress of a run. The rates are of the last second.
#[derive(Debug, Clone, Copy, Default)]
pub struct Progress {
    /// The time since the beginning of the warm-up or of the measurement.
    pub elapsed: Duration,
    /// True during the warm-up.
    pub warm_up: bool,
    /// Calls that ended with OK.
    pub calls: u64,
    /// Readings stored or read.
    pub readings: u64,
    /// Failed calls.
    pub failures: u64,
    /// Calls per second.
    pub calls_per_second: f64,
    /// Readings per second.
    pub readings_per_second: f64,
}

impl Report {
    pub(crate) fn new(tally: &Tally, measured: Duration, unfinished: u64) -> Self {
        let seconds = measured.as_secs_f64();
        let rpc = CallType::ALL
            .into_iter()
            .zip(&tally.call_types)
            .filter(|(_, tally)| tally.calls + tally.failures() > 0)
            .map(|(call_type, tally)| (call_type.key(), Stats::new(tally, seconds)))
            .collect();
        Self { rpc, seconds, unfinished }
    }

    /// Calls of all types that ended with OK.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.rpc.values().map(|stats| stats.calls).sum()
    }
}

impl Stats {
    fn new(tally: &CallTypeTally, seconds: f64) -> Self {
        let percentile = |quantile| tally.latency.value_at_quantile(quantile) as f64 / 1e6;
        Self {
            calls: tally.calls,
            calls_per_second: tally.calls as f64 / seconds,
            readings: tally.transferred.readings,
            readings_per_second: tally.transferred.readings as f64 / seconds,
            rejected: tally.transferred.rejected,
            p50_ms: percentile(0.5),
            p90_ms: percentile(0.9),
            p99_ms: percentile(0.99),
            p99_9_ms: percentile(0.999),
            errors: tally
                .failures
                .iter()
                .map(|(name, (count, message))| (*name, Failures { count: *count, message: message.clone() }))
                .collect(),
        }
    }
}

impl Progress {
    pub(crate) fn add(mut self, tally: &Tally) -> Self {
        for tally in &tally.call_types {
            self.calls += tally.calls;
            self.readings += tally.transferred.readings;
            self.failures += tally.failures();
        }
        self
    }

    pub(crate) fn since(self, before: &Self, step: Duration, elapsed: Duration, warm_up: bool) -> Self {
        let rate = |now: u64, before: u64| (now - before) as f64 / step.as_secs_f64();
        Self {
            elapsed,
            warm_up,
            calls_per_second: rate(self.calls, before.calls),
            readings_per_second: rate(self.readings, before.readings),
            ..self
        }
    }
}

impl Serialize for Failures {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.count)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<17} {:>12} {:>14} {:>9} {:>9} {:>9} {:>9} {:>12}",
            "", "calls/s", "readings/s", "p50 ms", "p90 ms", "p99 ms", "p99.9 ms", "calls"
        )?;
        for (name, stats) in &self.rpc {
            writeln!(
                f,
                "{name:<17} {:>12.0} {:>14.0} {:>9.3} {:>9.3} {:>9.3} {:>9.3} {:>12}",
                stats.calls_per_second,
                stats.readings_per_second,
                stats.p50_ms,
                stats.p90_ms,
                stats.p99_ms,
                stats.p99_9_ms,
                stats.calls
            )?;
        }
        for (name, stats) in &self.rpc {
            for (status, Failures { count, message }) in &stats.errors {
                writeln!(f, "{name}: {count} × {status}: {message}")?;
            }
            if stats.rejected > 0 {
                writeln!(f, "{name}: {} readings were not stored", stats.rejected)?;
            }
        }
        if self.unfinished > 0 {
            writeln!(f, "{} calls did not end", self.unfinished)?;
        }
        Ok(())
    }
}
