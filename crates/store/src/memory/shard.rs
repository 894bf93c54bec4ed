use std::{collections::HashMap, sync::Arc};

use compact_str::CompactString;
use hashbrown::{HashTable, hash_table::Entry};
use tokio::sync::Notify;

use super::{
    room::Room,
    sensor::{Run, Sensor},
};
use crate::{Limits, Refusal, Report, detector::Rules};

/// The sensors whose hash falls here, under one lock.
#[derive(Debug, Default)]
pub(super) struct Shard {
    pub(super) sensors: HashTable<Slot>,
    /// Who waits for which sensor, known or not.
    pub(super) followers: HashMap<CompactString, Arc<Notify>>,
    pub(super) counts: Counts,
    births: u32,
    swept: u64,
}

/// Hash and time lie beside the pointer, so that growing, sweeping and listing a shard touch no sensor.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) hash: u64,
    /// Milliseconds since the store was opened.
    pub(super) last_seen: u64,
    pub(super) sensor: Box<Sensor>,
}

/// What a shard holds and what went, for metrics.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Counts {
    pub(super) sensors: u64,
    pub(super) readings: u64,
    /// Older readings that made room for newer ones of their sensor.
    pub(super) evicted: u64,
    /// Readings that went with their idle sensor.
    pub(super) expired: u64,
    /// Sensors forgotten because they were idle.
    pub(super) forgotten: u64,
}

/// What is the same for all shards.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) limits: Limits,
    pub(super) rules: Rules,
    /// Milliseconds after which a sensor is forgotten.
    pub(super) idle: u64,
    pub(super) sensors: Room,
    pub(super) readings: Room,
}

impl Shard {
    /// The sensor, unless it is not known or has been idle too long.
    pub(super) fn get(&self, hash: u64, id: &str, now: u64, idle: u64) -> Option<&Sensor> {
        let slot = self.sensors.find(hash, |slot| slot.sensor.id == id)?;
        (!slot.is_idle(now, idle)).then_some(&slot.sensor)
    }

    /// Takes in a sensor's readings, `room` being the places left for new ones.
    pub(super) fn append(
        &mut self,
        shared: &Shared,
        key: (u64, &str),
        now: u64,
        run: &Run,
        room: &mut usize,
        report: &mut Report,
    ) {
        let (hash, id) = key;
        let entry = match self.sensors.entry(hash, |slot| slot.sensor.id == id, |slot| slot.hash) {
            Entry::Occupied(slot) if slot.get().is_idle(now, shared.idle) => {
                let (slot, vacant) = slot.remove();
                self.counts.forget(&slot, shared);
                Entry::Vacant(vacant)
            }
            entry => entry,
        };
        let mut slot = match entry {
            Entry::Occupied(slot) => slot,
            Entry::Vacant(vacant) => {
                let refusal = if *room == 0 {
                    Some(Refusal::Full)
                } else if shared.sensors.take(1) == 0 {
                    Some(Refusal::TooManySensors)
                } else {
                    None
                };
                if let Some(refusal) = refusal {
                    report.refused.extend(run.places.iter().map(|&place| (place as usize, refusal)));
                    return;
                }
                self.births = self.births.wrapping_add(1);
                self.counts.sensors += 1;
                let sensor = Box::new(Sensor::new(id, self.births, self.followers.contains_key(id)));
                vacant.insert(Slot { hash, last_seen: now, sensor })
            }
        };
        let slot = slot.get_mut();
        slot.last_seen = now;
        let evicted = slot.sensor.append(run, &shared.rules, &shared.limits, room, report);
        self.counts.evicted += evicted as u64;
        self.counts.readings += (run.readings.len() - evicted) as u64;
        report.evicted += evicted;
        report.stored += run.readings.len();
        if slot.sensor.followed
            && let Some(followers) = self.followers.get(id)
        {
            followers.notify_waiters();
        }
    }

    /// Forgets idle sensors, at most sixteen times in the idle time and once in `at_least` milliseconds.
    pub(super) fn sweep(&mut self, shared: &Shared, now: u64, at_least: u64) {
        if now.saturating_sub(self.swept) < (shared.idle / 16).min(at_least).max(1) {
            return;
        }
        self.swept = now;
        for slot in self.sensors.extract_if(|slot| slot.is_idle(now, shared.idle)) {
            self.counts.forget(&slot, shared);
        }
    }
}

impl Slot {
    pub(super) fn is_idle(&self, now: u64, idle: u64) -> bool {
        now.saturating_sub(self.last_seen) >= idle
    }
}

impl Counts {
    fn forget(&mut self, slot: &Slot, shared: &Shared) {
        let held = slot.sensor.ring.len();
        shared.readings.give(held);
        shared.sensors.give(1);
        self.sensors -= 1;
        self.readings -= held as u64;
        self.expired += held as u64;
        self.forgotten += 1;
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.sensors += other.sensors;
        self.readings += other.readings;
        self.evicted += other.evicted;
        self.expired += other.expired;
        self.forgotten += other.forgotten;
    }
}
