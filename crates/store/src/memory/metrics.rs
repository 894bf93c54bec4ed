use std::sync::{Arc, Weak};

use opentelemetry::metrics::{AsyncInstrument, Meter};

use super::{hash::SHARDS, shard::Counts, store::Memory};
use crate::instruments::{self, EvictionReason, StoreKind};

/// Observed when metrics are collected, which also expires idle sensors where nothing arrives any more.
pub(super) fn observe(memory: &Arc<Memory>, meter: &Meter) {
    let with = |report: fn(&Counts, &dyn AsyncInstrument<u64>)| {
        let memory: Weak<Memory> = Arc::downgrade(memory);
        move |instrument: &dyn AsyncInstrument<u64>| {
            if let Some(memory) = memory.upgrade() {
                report(&memory.counts(), instrument);
            }
        }
    };
    instruments::sensors(meter)
        .with_callback(with(|counts, instrument| {
            instrument.observe(counts.sensors, &[StoreKind::Memory.into()]);
        }))
        .build();
    instruments::readings(meter)
        .with_callback(with(|counts, instrument| {
            instrument.observe(counts.readings, &[StoreKind::Memory.into()]);
        }))
        .build();
    instruments::evicted(meter)
        .with_callback(with(|counts, instrument| {
            for reason in EvictionReason::ALL {
                instrument.observe(counts.evicted(reason), &[StoreKind::Memory.into(), reason.into()]);
            }
        }))
        .build();
    instruments::expired_sensors(meter)
        .with_callback(with(|counts, instrument| {
            instrument.observe(counts.expired_sensors, &[StoreKind::Memory.into()]);
        }))
        .build();
    observe_limits(memory, meter);
}

fn observe_limits(memory: &Arc<Memory>, meter: &Meter) {
    let report = |value: fn(&Memory) -> usize| {
        let memory = Arc::downgrade(memory);
        move |instrument: &dyn AsyncInstrument<u64>| {
            if let Some(memory) = memory.upgrade() {
                instrument.observe(value(&memory) as u64, &[StoreKind::Memory.into()]);
            }
        }
    };
    instruments::sensor_limit(meter).with_callback(report(|memory| memory.shared.limits.sensors)).build();
    instruments::reading_limit(meter).with_callback(report(|memory| memory.shared.limits.readings)).build();
    instruments::memory_usage(meter).with_callback(report(|memory| memory.shared.memory.used())).build();
    instruments::memory_limit(meter).with_callback(report(|memory| memory.shared.memory.limit())).build();
}

impl Counts {
    fn evicted(&self, reason: EvictionReason) -> u64 {
        match reason {
            EvictionReason::Full => self.evicted,
            EvictionReason::Idle => self.expired,
        }
    }
}

impl Memory {
    fn counts(&self) -> Counts {
        self.sweep(self.now());
        let mut all = Counts::default();
        for shard in 0..SHARDS {
            all.add(&self.lock(shard).counts);
        }
        all
    }
}
