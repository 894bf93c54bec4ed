use std::{collections::BTreeMap, time::Duration};

use grpc_otel::status_name;
use hdrhistogram::Histogram;
use tonic::Status;

use kelvin_proto::CallType;

use crate::call::Moved;

/// What was counted, by type of call.
#[derive(Default)]
pub(crate) struct Tally {
    pub kinds: [KindTally; CallType::ALL.len()],
}

pub(crate) struct KindTally {
    /// Calls that ended with OK.
    pub calls: u64,
    pub moved: Moved,
    /// In nanoseconds: of a call that ended with OK; of a chat, the round trip of each frame of readings.
    pub latency: Histogram<u64>,
    /// Calls that ended otherwise, by name of status, with the first message.
    pub failures: BTreeMap<&'static str, (u64, String)>,
}

impl Tally {
    pub(crate) fn kind(&mut self, kind: CallType) -> &mut KindTally {
        &mut self.kinds[kind as usize]
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (sum, kind) in self.kinds.iter_mut().zip(&other.kinds) {
            sum.calls += kind.calls;
            sum.moved.readings += kind.moved.readings;
            sum.moved.rejected += kind.moved.rejected;
            sum.latency.add(&kind.latency).expect("all histograms have the same bounds");
            for (name, (count, message)) in &kind.failures {
                sum.failures.entry(name).or_insert_with(|| (0, message.clone())).0 += count;
            }
        }
    }
}

impl KindTally {
    pub(crate) fn ended(&mut self, moved: Moved) {
        self.calls += 1;
        self.moved.readings += moved.readings;
        self.moved.rejected += moved.rejected;
    }

    pub(crate) fn took(&mut self, time: Duration) {
        self.latency.saturating_record(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    }

    pub(crate) fn failed(&mut self, status: &Status) {
        let name = status_name(status.code());
        self.failures.entry(name).or_insert_with(|| (0, status.message().to_owned())).0 += 1;
    }

    pub(crate) fn failures(&self) -> u64 {
        self.failures.values().map(|(count, _)| count).sum()
    }
}

impl Default for KindTally {
    fn default() -> Self {
        // From 0.1 µs to ten minutes.
        let latency = Histogram::new_with_bounds(100, 600_000_000_000, 3).expect("the bounds are sane");
        Self { calls: 0, moved: Moved::default(), latency, failures: BTreeMap::new() }
    }
}
