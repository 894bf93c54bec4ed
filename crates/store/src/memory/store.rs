use std::{
    cell::RefCell,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

use hashbrown::DefaultHashBuilder;
use parking_lot::{Mutex, MutexGuard};

use super::{
    hash::{SHARDS, hash_of, shard_of},
    quota::{MemoryUse, Quota, Reservation},
    sensor::Run,
    shard::{AppendContext, Shard, Shared},
    sharded_batch::ShardedBatch,
    timer::Timer,
};
use crate::{
    AlertSettings, Batch, Limits, Reading, Report, SensorId, Stats, detector::Rules, instruments::Operation,
};

/// Milliseconds between two sweeps through all shards while no sensor fits.
const SWEEP_WHEN_FULL: u64 = 1000;

thread_local! {
    static SHARDED: RefCell<ShardedBatch> = RefCell::default();
}

#[derive(Debug)]
pub(crate) struct Memory {
    shards: Box<[Mutex<Shard>]>,
    pub(super) shared: Shared,
    hasher: DefaultHashBuilder,
    /// Orders the sensors of a shard in listings. The hash of the table stays secret, or callers could find names that
    /// collide in it.
    pub(super) listing_order: DefaultHashBuilder,
    opened: Instant,
    swept: AtomicU64,
    timer: Timer,
}

impl Memory {
    pub(super) fn new(limits: Limits, alerts: &AlertSettings, timer: Timer) -> Self {
        let shared = Shared {
            rules: Rules::from(alerts),
            idle: milliseconds(limits.idle).max(1),
            sensors: Quota::new(limits.sensors),
            readings: Quota::new(limits.readings),
            memory: MemoryUse::new(limits.memory),
            limits,
        };
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            shared,
            hasher: DefaultHashBuilder::default(),
            listing_order: DefaultHashBuilder::default(),
            opened: Instant::now(),
            swept: AtomicU64::new(0),
            timer,
        }
    }

    pub(crate) fn append(&self, batch: &Batch, report: &mut Report) {
        if batch.len() == 1 {
            self.append_one(batch.sensor(0), *batch.reading(0), report);
            return;
        }
        report.clear();
        let now = self.now();
        self.sweep_when_full(now);
        let timing = self.timer.start();
        let room = Reservation::new(&self.shared.readings);
        let mut context = AppendContext { shared: &self.shared, now, room, report };
        SHARDED.with_borrow_mut(|sharded| {
            sharded.partition(batch, &self.hasher);
            while let Some((shard, mut cursor)) = sharded.next_shard() {
                let mut shard = self.lock(shard);
                shard.sweep(&self.shared, now, u64::MAX);
                while let Some((hash, id, run)) = sharded.next_run(batch, &mut cursor) {
                    shard.append(hash, id, run, &mut context);
                }
            }
        });
        drop(context);
        report.rejected.sort_unstable_by_key(|(place, _)| *place);
        report.alerts.sort_unstable_by_key(|(place, _)| *place);
        timing.stop(Operation::Append);
    }

    pub(crate) fn append_one(&self, sensor_id: SensorId<'_>, reading: Reading, report: &mut Report) {
        report.clear();
        let now = self.now();
        self.sweep_when_full(now);
        let timing = self.timer.start();
        let hash = hash_of(&self.hasher, sensor_id.as_bytes());
        let room = Reservation::one_by_one(&self.shared.readings);
        let mut context = AppendContext { shared: &self.shared, now, room, report };
        let mut shard = self.lock(shard_of(hash));
        shard.sweep(&self.shared, now, u64::MAX);
        let run = Run { readings: &[reading], places: &[0] };
        shard.append(hash, sensor_id, run, &mut context);
        drop(shard);
        timing.stop(Operation::Append);
    }

    pub(crate) fn stats(&self, sensor_id: &str) -> Option<Stats> {
        let (hash, now) = (self.hash(sensor_id), self.now());
        let shard = self.lock(shard_of(hash));
        let slot = shard.slot(hash, sensor_id, now, self.shared.idle)?;
        Some(slot.stats(now, self.shared.limits.recent_window))
    }

    /// Locks a shard. The lock is not poisoned by a panic, which leaves nothing half done that a later append could not
    /// live with.
    pub(super) fn lock(&self, shard: usize) -> MutexGuard<'_, Shard> {
        self.shards[shard].lock()
    }

    /// Idle sensors of shards that get no readings must not keep new sensors out. At most once in [`SWEEP_WHEN_FULL`]: a
    /// store that holds as many readings as it may stays full.
    fn sweep_when_full(&self, now: u64) {
        let swept = self.swept.load(Relaxed);
        if self.shared.is_full()
            && now.saturating_sub(swept) >= SWEEP_WHEN_FULL.min(self.shared.idle)
            && self.swept.compare_exchange(swept, now, Relaxed, Relaxed).is_ok()
        {
            self.sweep(now);
        }
    }

    pub(super) fn sweep(&self, now: u64) {
        for shard in 0..SHARDS {
            self.lock(shard).sweep(&self.shared, now, 0);
        }
    }

    pub(super) fn now(&self) -> u64 {
        milliseconds(self.opened.elapsed())
    }

    pub(super) fn hash(&self, sensor_id: &str) -> u64 {
        hash_of(&self.hasher, sensor_id.as_bytes())
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
