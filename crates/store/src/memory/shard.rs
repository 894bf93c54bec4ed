//! A part of the sensors under one lock, and what all parts share.
//!
//! Limits apply to the whole store, so their [`Quota`]s are shared atomics; a shard's [`Counts`] are its own and only
//! change under its lock. A sensor takes its place and reserves its first reading in [`Shared::admit`], before it is in
//! the table, and [`Counts::expire`] gives back all that it took. A slot's `bytes` is what [`MemoryUse`] has for it;
//! every change of the sensor's allocations has to bring it up to date.

use std::{collections::HashMap, sync::Arc, time::Duration};

use compact_str::CompactString;
use hashbrown::HashTable;
use tokio::sync::Notify;

use super::{
    quota::{MemoryUse, Quota, Reservation},
    sensor::{Run, Sensor},
};
use crate::{Limits, Reading, RejectReason, Report, SensorId, Stats, detector::Rules};

/// A place in the table: tables are half to seven eighths full, and a place has a control byte.
const SLOT: usize = (size_of::<Slot>() + 1) * 3 / 2;
/// The minimum size of a sensor.
const NEW_SENSOR: usize = SLOT + size_of::<Sensor>() + 4 * size_of::<Reading>();

/// The sensors whose hash falls here, under one lock.
#[derive(Debug, Default)]
pub(super) struct Shard {
    pub(super) sensors: HashTable<Slot>,
    /// The followers by sensor, which may not exist yet.
    pub(super) followers: HashMap<CompactString, Arc<Notify>>,
    pub(super) counts: Counts,
    generations: u32,
    swept: u64,
}

/// Hash and time lie beside the pointer, so that growing, sweeping and listing a shard touch no sensor.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) hash: u64,
    /// Milliseconds since the store was opened.
    pub(super) last_seen: u64,
    /// The size with which the sensor is counted in the memory in use.
    bytes: usize,
    pub(super) sensor: Box<Sensor>,
}

/// The content of a shard and what it removed, for metrics.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Counts {
    pub(super) sensors: u64,
    pub(super) readings: u64,
    /// Older readings that made room for newer ones of their sensor.
    pub(super) evicted: u64,
    /// Readings that went with their idle sensor.
    pub(super) expired: u64,
    /// Sensors that were idle too long.
    pub(super) expired_sensors: u64,
}

/// The state that all shards share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) limits: Limits,
    pub(super) rules: Rules,
    /// Milliseconds after which an idle sensor expires.
    pub(super) idle: u64,
    pub(super) sensors: Quota,
    pub(super) readings: Quota,
    pub(super) memory: MemoryUse,
}

/// What the appends of one batch share.
#[derive(Debug)]
pub(super) struct AppendContext<'a> {
    pub(super) shared: &'a Shared,
    /// Milliseconds since the store was opened.
    pub(super) now: u64,
    pub(super) room: Reservation<'a>,
    pub(super) report: &'a mut Report,
}

impl Shard {
    /// The sensor, unless it is not known or has been idle too long.
    pub(super) fn get(&self, hash: u64, id: &str, now: u64, idle: u64) -> Option<&Sensor> {
        self.slot(hash, id, now, idle).map(|slot| &*slot.sensor)
    }

    pub(super) fn slot(&self, hash: u64, id: &str, now: u64, idle: u64) -> Option<&Slot> {
        let slot = self.sensors.find(hash, |slot| slot.sensor.id == id)?;
        (!slot.is_idle(now, idle)).then_some(slot)
    }

    /// Stores the readings of one sensor.
    pub(super) fn append(
        &mut self,
        hash: u64,
        id: SensorId<'_>,
        run: Run<'_>,
        context: &mut AppendContext<'_>,
    ) {
        let (shared, now) = (context.shared, context.now);
        let slot = match self.sensors.find_mut(hash, |slot| slot.has(id)) {
            Some(slot) if !slot.is_idle(now, shared.idle) => slot,
            _ => match self.admit(hash, id, context) {
                Ok(slot) => self.sensors.insert_unique(hash, slot, |slot| slot.hash).into_mut(),
                Err(reason) => {
                    context.report.rejected.extend(run.places.iter().map(|&place| (place as usize, reason)));
                    return;
                }
            },
        };
        slot.last_seen = now;
        let AppendContext { room, report, .. } = context;
        let mut evicted = slot.sensor.append(run, &shared.rules, &shared.limits, room, report);
        if slot.sensor.history.take_resized() {
            let freed = slot.account(&shared.memory);
            shared.readings.release(freed);
            evicted += freed;
        }
        debug_assert_eq!(slot.bytes, slot.count_bytes());
        self.counts.evicted += evicted as u64;
        // Both go up by what was stored, so that the difference cannot be negative.
        self.counts.readings = self.counts.readings + run.readings.len() as u64 - evicted as u64;
        report.evicted += evicted;
        report.stored += run.readings.len();
        if slot.sensor.followed
            && let Some(followers) = self.followers.get(&slot.sensor.id)
        {
            followers.notify_waiters();
        }
    }

    /// Makes a sensor that is not known, or not any more.
    #[cold]
    fn admit(
        &mut self,
        hash: u64,
        id: SensorId<'_>,
        context: &mut AppendContext<'_>,
    ) -> Result<Slot, RejectReason> {
        let shared = context.shared;
        if let Ok(idle) = self.sensors.find_entry(hash, |slot| slot.has(id)) {
            self.counts.expire(&idle.remove().0, shared);
        }
        shared.admit(&mut context.room)?;
        self.generations = self.generations.wrapping_add(1);
        self.counts.sensors += 1;
        let id = id.as_str();
        let sensor = Box::new(Sensor::new(id, self.generations, self.followers.contains_key(id)));
        Ok(Slot { hash, last_seen: context.now, bytes: 0, sensor })
    }

    /// Expires idle sensors, at most sixteen times in the idle time and once in `at_least` milliseconds.
    pub(super) fn sweep(&mut self, shared: &Shared, now: u64, at_least: u64) {
        if now.saturating_sub(self.swept) < (shared.idle / 16).min(at_least).max(1) {
            return;
        }
        self.swept = now;
        for slot in self.sensors.extract_if(|slot| slot.is_idle(now, shared.idle)) {
            self.counts.expire(&slot, shared);
        }
    }
}

impl Shared {
    /// Returns whether a new sensor would be rejected.
    pub(super) fn is_full(&self) -> bool {
        self.sensors.is_exhausted() || self.readings.is_exhausted() || !self.memory.fits(NEW_SENSOR)
    }

    /// Takes a place for a new sensor, if there is room for it and at least one reading. That one is reserved at once: if
    /// another shard took it before the sensor is stored, the sensor would hold no reading.
    fn admit(&self, room: &mut Reservation<'_>) -> Result<(), RejectReason> {
        if !self.memory.fits(NEW_SENSOR) || !room.hold_one() {
            Err(RejectReason::Full)
        } else if self.sensors.take(1) == 0 {
            Err(RejectReason::TooManySensors)
        } else {
            Ok(())
        }
    }
}

impl Slot {
    pub(super) fn stats(&self, now: u64, recent_window: usize) -> Stats {
        self.sensor.stats(recent_window, Duration::from_millis(now.saturating_sub(self.last_seen)))
    }

    /// Accounts for the memory that the sensor takes now. At the limit, the sensor that is written to loses its own oldest
    /// readings, so that no sensor can evict the readings of others. Returns the number of evicted readings.
    fn account(&mut self, memory: &MemoryUse) -> usize {
        let mut evicted = 0;
        loop {
            let bytes = self.count_bytes();
            memory.replace(self.bytes, bytes);
            self.bytes = bytes;
            if !memory.is_exceeded() || self.sensor.history.len() <= 1 {
                return evicted;
            }
            evicted += self.sensor.history.evict_oldest_block();
        }
    }

    fn count_bytes(&self) -> usize {
        SLOT + self.sensor.bytes()
    }

    fn has(&self, id: SensorId<'_>) -> bool {
        self.sensor.id.as_bytes() == id.as_bytes()
    }

    pub(super) fn is_idle(&self, now: u64, idle: u64) -> bool {
        now.saturating_sub(self.last_seen) >= idle
    }
}

impl Counts {
    fn expire(&mut self, slot: &Slot, shared: &Shared) {
        let held = slot.sensor.history.len();
        shared.readings.release(held);
        shared.sensors.release(1);
        shared.memory.replace(slot.bytes, 0);
        self.sensors -= 1;
        self.readings -= held as u64;
        self.expired += held as u64;
        self.expired_sensors += 1;
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.sensors += other.sensors;
        self.readings += other.readings;
        self.evicted += other.evicted;
        self.expired += other.expired;
        self.expired_sensors += other.expired_sensors;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::AlertSettings;

    #[test]
    fn last_reading_admits_one_sensor_in_two_shards() {
        let limits = Limits {
            readings_per_sensor: 10,
            sensors: 10,
            readings: 1,
            memory: usize::MAX,
            idle: Duration::from_secs(1),
            recent_window: 1,
        };
        let shared = Shared {
            rules: Rules::from(&AlertSettings { low: None, high: None, z_score: None }),
            idle: 1000,
            sensors: Quota::new(limits.sensors),
            readings: Quota::new(limits.readings),
            memory: MemoryUse::new(limits.memory),
            limits,
        };
        let (mut one, mut other) =
            (Reservation::new(&shared.readings), Reservation::one_by_one(&shared.readings));
        assert_eq!(shared.admit(&mut one), Ok(()));
        assert_eq!(shared.admit(&mut other), Err(RejectReason::Full), "the first sensor needs the reading");
        assert_eq!(one.take(3), 1);
    }
}
