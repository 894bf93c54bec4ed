//! The state of the demo at one moment, however it is displayed.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use kelvin_proto::CallType;

use super::{
    record::Calls,
    sensors::Sensor,
    summary::{self, Rpc, Summary},
    trace::Trace,
};

/// The time over which rates are averaged: long streams end seldom.
const RATE_WINDOW: Duration = Duration::from_secs(5);

pub(super) struct Snapshot {
    /// Since the start.
    pub(super) elapsed: Duration,
    /// In the order of [`CallType::ALL`].
    pub(super) calls: [Calls; CallType::ALL.len()],
    pub(super) sensors: Vec<Sensor>,
    pub(super) trace: Option<Trace>,
}

impl Snapshot {
    /// Readings that the server stored.
    pub(super) fn stored(&self) -> u64 {
        self.sensors.iter().map(|sensor| sensor.count).sum()
    }

    /// Alerts that the server raised.
    pub(super) fn alerts(&self) -> u64 {
        self.sensors.iter().map(|sensor| sensor.alerts).sum()
    }

    pub(super) fn summary(&self) -> Summary {
        let to_microsecond = |milliseconds: f64| (milliseconds * 1000.0).round() / 1000.0;
        let [unary, client_streaming, server_streaming, bidi_streaming] =
            self.calls.each_ref().map(|calls| summary::CallStats {
                calls: calls.count,
                errors: calls.errors,
                p50_ms: to_microsecond(calls.quantile(0.5)),
                p99_ms: to_microsecond(calls.quantile(0.99)),
            });
        Summary {
            rpc: Rpc { unary, client_streaming, server_streaming, bidi_streaming },
            readings_stored: self.stored(),
            alerts: self.alerts(),
        }
    }
}

/// The counts of the last seconds, to compute rates from.
pub(super) struct Rates {
    counts: VecDeque<(Instant, [u64; CallType::ALL.len() + 1])>,
}

impl Rates {
    pub(super) fn new(start: Instant) -> Self {
        Self { counts: [(start, Default::default())].into() }
    }

    /// Adds the current counts and returns the rates per second: calls in the order of [`CallType::ALL`], then readings.
    pub(super) fn next(&mut self, now: Instant, snapshot: &Snapshot) -> [f64; CallType::ALL.len() + 1] {
        let [unary, client, server, bidi] = snapshot.calls.each_ref().map(|calls| calls.count);
        let counts = [unary, client, server, bidi, snapshot.stored()];
        self.counts.push_back((now, counts));
        // The oldest that is kept is as old as that, or older.
        while self.counts.get(1).is_some_and(|(at, _)| now.duration_since(*at) >= RATE_WINDOW) {
            self.counts.pop_front();
        }
        let (then, before) = self.counts[0];
        let seconds = now.duration_since(then).as_secs_f64().max(1.0);
        std::array::from_fn(|at| counts[at].saturating_sub(before[at]) as f64 / seconds)
    }
}
