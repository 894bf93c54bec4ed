use std::sync::Arc;

use compact_str::CompactString;
use tokio::sync::Notify;

use super::{Memory, sensor::Sensor, shard_of};
use crate::{Query, Reading};

/// Readings given back at once, so that the lock is held for about a microsecond.
const CHUNK: usize = 1024;
/// Readings looked through under one lock when few of them are wanted.
const LOOK: u64 = 16 * 1024;

#[derive(Debug)]
pub(crate) struct MemoryReader {
    memory: Arc<Memory>,
    id: CompactString,
    hash: u64,
    since: i64,
    until: i64,
    at: Option<Position>,
    missed: u64,
    follow: Option<Arc<Notify>>,
}

#[derive(Debug, Clone, Copy)]
struct Position {
    birth: u32,
    next: u64,
    end: u64,
}

enum Step {
    Read,
    Looked,
    End,
}

impl MemoryReader {
    pub(crate) fn new(memory: &Arc<Memory>, sensor_id: &str, query: &Query) -> Self {
        let hash = memory.hash(sensor_id);
        let mut reader = Self {
            memory: Arc::clone(memory),
            id: sensor_id.into(),
            hash,
            since: query.since.unwrap_or(i64::MIN),
            until: query.until.unwrap_or(i64::MAX),
            at: None,
            missed: 0,
            follow: None,
        };
        let mut shard = memory.lock(shard_of(hash));
        if query.follow {
            let followers = shard.followers.entry(sensor_id.into()).or_default();
            reader.follow = Some(Arc::clone(followers));
            if let Some(slot) = shard.sensors.find_mut(hash, |slot| slot.sensor.id == sensor_id) {
                slot.sensor.followed = true;
            }
        }
        if let Some(sensor) = shard.get(hash, sensor_id, memory.now(), memory.shared.idle) {
            let end = if query.follow { u64::MAX } else { sensor.summary.count };
            reader.at = Some(Position { birth: sensor.birth, next: reader.start(sensor, query.limit), end });
        }
        drop(shard);
        reader
    }

    pub(crate) async fn next(&mut self, out: &mut Vec<Reading>) -> bool {
        loop {
            let follow = self.follow.clone();
            // Told before looking, so that what comes in between is not slept through.
            let mut news = follow.as_deref().map(|follow| Box::pin(follow.notified()));
            if let Some(news) = &mut news {
                news.as_mut().enable();
            }
            match self.step(out) {
                Step::Read => return true,
                Step::Looked => {}
                Step::End => match news {
                    Some(news) => news.await,
                    None => return false,
                },
            }
        }
    }

    pub(crate) fn missed(&self) -> u64 {
        self.missed
    }

    /// Begins with the reading of this sequence number, or the next one to come if it is not given yet.
    pub(crate) fn begin_at(&mut self, from: u64) {
        let shard = self.memory.lock(shard_of(self.hash));
        let sensor = shard.get(self.hash, &self.id, self.memory.now(), self.memory.shared.idle);
        if let (Some(at), Some(sensor)) = (&mut self.at, sensor) {
            at.next = from.saturating_sub(1).min(sensor.summary.count);
        }
    }

    /// The sequence number of the last reading looked at.
    pub(crate) fn position(&self) -> u64 {
        self.at.map_or(0, |at| at.next)
    }

    /// Where to begin for the newest `limit` readings that are wanted.
    fn start(&self, sensor: &Sensor, limit: Option<u64>) -> u64 {
        let Some(limit) = limit else { return sensor.first() };
        let mut wanted = 0;
        let newest = sensor.ring.iter().rev().take_while(|reading| {
            wanted += u64::from(self.wants(reading));
            wanted <= limit
        });
        sensor.summary.count - newest.count() as u64
    }

    fn wants(&self, reading: &Reading) -> bool {
        // Without `until` the last second there is belongs to it.
        reading.timestamp >= self.since && (reading.timestamp < self.until || self.until == i64::MAX)
    }

    fn step(&mut self, out: &mut Vec<Reading>) -> Step {
        let memory = Arc::clone(&self.memory);
        let shard = memory.lock(shard_of(self.hash));
        let Some(sensor) = shard.get(self.hash, &self.id, memory.now(), memory.shared.idle) else {
            return Step::End;
        };
        let mut at = match self.at {
            Some(at) if at.birth == sensor.birth => at,
            // It was forgotten, or never known, and came (back) while being followed.
            _ if self.follow.is_some() => Position { birth: sensor.birth, next: 0, end: u64::MAX },
            _ => return Step::End,
        };
        let first = sensor.first();
        let lost = first.min(at.end).saturating_sub(at.next);
        self.missed += lost;
        at.next += lost;

        let before = out.len();
        let stop = at.end.min(sensor.summary.count).min(at.next + LOOK);
        let range = place(at.next, first)..place(stop.max(at.next), first);
        for reading in sensor.ring.range(range) {
            at.next += 1;
            if self.wants(reading) {
                out.push(*reading);
                if out.len() - before == CHUNK {
                    break;
                }
            }
        }
        self.at = Some(at);
        if out.len() > before {
            Step::Read
        } else if at.next < at.end.min(sensor.summary.count) {
            Step::Looked
        } else {
            Step::End
        }
    }
}

impl Drop for MemoryReader {
    fn drop(&mut self) {
        let Some(follow) = self.follow.take() else { return };
        let mut shard = self.memory.lock(shard_of(self.hash));
        // The map's own and this one: nobody else follows.
        if Arc::strong_count(&follow) == 2 {
            shard.followers.remove(&self.id);
            if let Some(slot) = shard.sensors.find_mut(self.hash, |slot| slot.sensor.id == self.id) {
                slot.sensor.followed = false;
            }
        }
    }
}

fn place(sequence: u64, first: u64) -> usize {
    usize::try_from(sequence - first).expect("a place in a ring")
}
