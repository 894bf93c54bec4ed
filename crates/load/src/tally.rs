use std::{collections::BTreeMap, time::Duration};

use grpc_otel::status_name;
use hdrhistogram::Histogram;
use tonic::Status;

use kelvin_proto::CallType;

use crate::call::Transferred;

/// Counts calls by type.
#[derive(Default)]
pub(crate) struct Tally {
    pub call_types: [CallTypeTally; CallType::ALL.len()],
}

pub(crate) struct CallTypeTally {
    /// Calls that ended with OK.
    pub calls: u64,
    pub transferred: Transferred,
    /// In nanoseconds: the duration of calls that ended with OK; in a chat, the round trip of each frame of readings.
    pub latency: Histogram<u64>,
    /// Failed calls by name of the status, with the first message.
    pub failures: BTreeMap<&'static str, (u64, String)>,
}

impl Tally {
    pub(crate) fn call_type(&mut self, call_type: CallType) -> &mut CallTypeTally {
        &mut self.call_types[call_type as usize]
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (sum, tally) in self.call_types.iter_mut().zip(&other.call_types) {
            sum.calls += tally.calls;
            sum.transferred.readings += tally.transferred.readings;
            sum.transferred.rejected += tally.transferred.rejected;
            sum.latency.add(&tally.latency).expect("all histograms have the same bounds");
            for (name, (count, message)) in &tally.failures {
                sum.failures.entry(name).or_insert_with(|| (0, message.clone())).0 += count;
            }
        }
    }
}

impl CallTypeTally {
    pub(crate) fn record_success(&mut self, transferred: Transferred) {
        self.calls += 1;
        self.transferred.readings += transferred.readings;
        self.transferred.rejected += transferred.rejected;
    }

    pub(crate) fn record_latency(&mut self, time: Duration) {
        self.latency.saturating_record(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    }

    pub(crate) fn record_failure(&mut self, status: &Status) {
        let name = status_name(status.code());
        self.failures.entry(name).or_insert_with(|| (0, status.message().to_owned())).0 += 1;
    }

    pub(crate) fn failures(&self) -> u64 {
        self.failures.values().map(|(count, _)| count).sum()
    }
}

impl Default for CallTypeTally {
    fn default() -> Self {
        // From 0.1 µs to ten minutes.
        let latency = Histogram::new_with_bounds(100, 600_000_000_000, 3).expect("the bounds are valid");
        Self { calls: 0, transferred: Transferred::default(), latency, failures: BTreeMap::new() }
    }
}
