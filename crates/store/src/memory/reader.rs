//! Reads one sensor, a part at a time under its shard's lock.
//!
//! A reader keeps no reading and no lock between two steps, only the sequence number of the next reading and the
//! sensor's generation, so it never holds up writers: what is evicted before it arrives counts as missed. A step
//! decompresses at most about [`WORK`] readings. A follower registers with its shard's `Notify` before it looks, so
//! that no notification is lost between looking and waiting; the last one to be dropped removes the entry, under the
//! lock.

use std::sync::Arc;

use compact_str::CompactString;
use tokio::{
    sync::Notify,
    task::{coop::consume_budget, yield_now},
};

use super::{hash::shard_of, sensor::Sensor, store::Memory};
use crate::{Query, Reading, StoreError, summary::Summary, windows::Windows};

/// Readings given back at once, about.
const CHUNK: usize = 1024;
/// Readings decompressed under one lock when few of them are wanted: about ten microseconds.
const WORK: usize = 4 * 1024;
/// The cost of skipping a block, in readings.
const SKIP: usize = 16;
/// The cost of switching to another window of an aggregate, in readings.
const CHANGE: usize = 16;

#[derive(Debug)]
pub(crate) struct MemoryReader {
    memory: Arc<Memory>,
    id: CompactString,
    hash: u64,
    range: TimeRange,
    position: Option<Position>,
    evicted_unread: u64,
    follow: Option<Arc<Notify>>,
}

/// The seconds that are wanted.
#[derive(Debug, Clone, Copy)]
pub(super) struct TimeRange {
    since: i64,
    until: Option<i64>,
}

#[derive(Debug, Clone, Copy)]
struct Position {
    generation: u32,
    /// Sequence numbers, where the first reading ever has 0.
    next: u64,
    end: u64,
}

/// The sink of the readings that a query selects.
trait Sink {
    /// Takes readings by their summary, without having them decompressed; false if it needs them themselves.
    fn take_summary(&mut self, span: (i64, i64), summary: &Summary) -> bool;
    fn take(&mut self, readings: &[Reading]);
    /// Returns the number of readings taken; about [`CHUNK`] at once are enough.
    fn taken(&self) -> usize;
    /// The work that taking them was so far, in readings decompressed.
    fn work(&self) -> usize;
}

enum Step {
    /// There are readings.
    Read,
    /// There are more to look at.
    Looked,
    End,
}

impl MemoryReader {
    pub(crate) async fn new(memory: &Arc<Memory>, sensor_id: &str, query: &Query) -> Self {
        let mut reader = Self {
            memory: Arc::clone(memory),
            id: sensor_id.into(),
            hash: memory.hash(sensor_id),
            range: TimeRange { since: query.since.unwrap_or(i64::MIN), until: query.until },
            position: None,
            evicted_unread: 0,
            follow: None,
        };
        reader.open(query.follow);
        if let Some(limit) = query.limit {
            reader.find_newest(limit).await;
        }
        if let (Some(position), true) = (&mut reader.position, query.follow) {
            position.end = u64::MAX;
        }
        reader
    }

    pub(crate) async fn next(&mut self, out: &mut Vec<Reading>) -> bool {
        loop {
            let follow = self.follow.clone();
            // Registered before looking, so that no notification in between is lost.
            let mut notified = follow.as_deref().map(|follow| Box::pin(follow.notified()));
            if let Some(notified) = &mut notified {
                notified.as_mut().enable();
            }
            match self.step(out) {
                Step::Read => {
                    // A caller that takes everything at once must not keep the runtime from others.
                    consume_budget().await;
                    return true;
                }
                Step::Looked => yield_now().await,
                Step::End => match notified {
                    Some(notified) => notified.await,
                    None => return false,
                },
            }
        }
    }

    /// Sums up what is there.
    pub(crate) async fn aggregate(&mut self, windows: &mut Windows) -> Result<(), StoreError> {
        while let Step::Looked = self.step(windows) {
            windows.check()?;
            yield_now().await;
        }
        Ok(())
    }

    pub(crate) fn missed(&self) -> u64 {
        self.evicted_unread
    }

    /// The sequence number of the last reading looked at.
    pub(crate) fn position(&self) -> u64 {
        self.position.map_or(0, |position| position.next)
    }

    fn open(&mut self, follow: bool) {
        let memory = Arc::clone(&self.memory);
        let mut shard = memory.lock(shard_of(self.hash));
        if follow {
            let followers = shard.followers.entry(self.id.clone()).or_default();
            self.follow = Some(Arc::clone(followers));
            if let Some(slot) = shard.sensors.find_mut(self.hash, |slot| slot.sensor.id == self.id) {
                slot.sensor.followed = true;
            }
        }
        let sensor = shard.get(self.hash, &self.id, memory.now(), memory.shared.idle);
        self.position = sensor.map(|sensor| Position {
            generation: sensor.generation,
            next: sensor.first(),
            end: sensor.summary.count,
        });
    }

    /// Moves on to the newest `limit` readings that are wanted, looking backwards from the end.
    async fn find_newest(&mut self, mut limit: u64) {
        let Some(mut position) = self.position else { return };
        position.next = position.end;
        while !self.look_back(&mut position, &mut limit) {
            yield_now().await;
        }
        self.position = Some(position);
    }

    /// Moves back while more readings are wanted; true when that is done. Readings that are evicted meanwhile are found
    /// missing when they are to be read.
    fn look_back(&self, position: &mut Position, limit: &mut u64) -> bool {
        let shard = self.memory.lock(shard_of(self.hash));
        let sensor = shard.get(self.hash, &self.id, self.memory.now(), self.memory.shared.idle);
        let Some(sensor) = sensor.filter(|sensor| sensor.generation == position.generation) else {
            return true;
        };
        let first = sensor.first();
        let (mut work, mut readings) = (0, Vec::new());
        while *limit > 0 && position.next > first {
            if work >= WORK {
                return false;
            }
            let begin = sensor.history.part_before(place(position.next, first));
            let part = sensor.history.part(begin);
            let count = place(position.next, first + begin as u64);
            let all = self.range.holds(part.span());
            if all && count as u64 <= *limit {
                *limit -= count as u64;
                position.next -= count as u64;
                work += SKIP;
            } else if all || self.range.meets(part.span()) {
                readings.clear();
                part.read(|some| readings.extend_from_slice(some));
                for reading in readings[..count].iter().rev() {
                    if *limit == 0 {
                        break;
                    }
                    position.next -= 1;
                    *limit -= u64::from(self.range.contains(reading.timestamp));
                }
                work += count;
            } else {
                position.next -= count as u64;
                work += SKIP;
            }
        }
        true
    }

    fn step(&mut self, out: &mut impl Sink) -> Step {
        let memory = Arc::clone(&self.memory);
        let shard = memory.lock(shard_of(self.hash));
        let Some(sensor) = shard.get(self.hash, &self.id, memory.now(), memory.shared.idle) else {
            return Step::End;
        };
        let mut position = match self.position {
            Some(position) if position.generation == sensor.generation => position,
            // It expired, or was never known, and came (back) while being followed.
            _ if self.follow.is_some() => Position { generation: sensor.generation, next: 0, end: u64::MAX },
            _ => return Step::End,
        };
        self.evicted_unread += position.skip_evicted(sensor.first());
        let end = position.end.min(sensor.summary.count);
        let (before, work_before) = (out.taken(), out.work());
        let mut work = 0;
        while position.next < end && work + out.work() - work_before < WORK && out.taken() - before < CHUNK {
            work += self.read_part(sensor, &mut position, end, out);
        }
        self.position = Some(position);
        if out.taken() > before {
            Step::Read
        } else if position.next < end {
            Step::Looked
        } else {
            Step::End
        }
    }

    /// Reads up to `end` what lies together, and returns the work that it was besides the sink's.
    fn read_part(&self, sensor: &Sensor, position: &mut Position, end: u64, out: &mut impl Sink) -> usize {
        let part = sensor.history.part(place(position.next, sensor.first()));
        let count = part.len().min(usize::try_from(end - position.next).unwrap_or(usize::MAX));
        position.next += count as u64;
        if !self.range.meets(part.span()) {
            return SKIP;
        }
        let everything = self.range.holds(part.span());
        if let (true, Some(summary)) = (everything && count == part.len(), part.summary())
            && out.take_summary(part.span(), summary)
        {
            return SKIP;
        }
        let mut left = count;
        part.read(|readings| {
            let readings = &readings[..left.min(readings.len())];
            left -= readings.len();
            if everything {
                out.take(readings);
                return;
            }
            let wanted = |reading: &Reading| self.range.contains(reading.timestamp);
            for run in readings.chunk_by(|a, b| wanted(a) == wanted(b)).filter(|run| wanted(&run[0])) {
                out.take(run);
            }
        });
        count
    }
}

impl Sink for Vec<Reading> {
    fn take_summary(&mut self, _: (i64, i64), _: &Summary) -> bool {
        false
    }

    #[inline]
    fn take(&mut self, readings: &[Reading]) {
        self.extend_from_slice(readings);
    }

    fn taken(&self) -> usize {
        self.len()
    }

    fn work(&self) -> usize {
        0
    }
}

impl Sink for Windows {
    fn take_summary(&mut self, span: (i64, i64), summary: &Summary) -> bool {
        self.add_summary(span, summary)
    }

    fn take(&mut self, readings: &[Reading]) {
        self.add(readings);
    }

    /// Nothing has to be handed on before the end.
    fn taken(&self) -> usize {
        0
    }

    fn work(&self) -> usize {
        CHANGE * self.changes()
    }
}

impl TimeRange {
    pub(super) fn contains(self, timestamp: i64) -> bool {
        timestamp >= self.since && self.until.is_none_or(|until| timestamp < until)
    }

    /// Returns whether the range contains all of a span.
    fn holds(self, (earliest, latest): (i64, i64)) -> bool {
        self.contains(earliest) && self.contains(latest)
    }

    /// Returns whether the range may contain some of a span.
    fn meets(self, (earliest, latest): (i64, i64)) -> bool {
        latest >= self.since && self.until.is_none_or(|until| earliest < until)
    }
}

impl Position {
    /// Moves on over what is not held any more, to the end at most: a reader without `follow` may be overtaken by any
    /// number of readings, also by more than it had to read. Returns how many it will not see.
    fn skip_evicted(&mut self, first: u64) -> u64 {
        let lost = first.min(self.end).saturating_sub(self.next);
        self.next += lost;
        lost
    }
}

impl Drop for MemoryReader {
    fn drop(&mut self) {
        let Some(follow) = self.follow.take() else { return };
        let mut shard = self.memory.lock(shard_of(self.hash));
        // One belongs to the map and one to this reader, so this is the last follower.
        let last = Arc::strong_count(&follow) == 2;
        // Under the lock, or two readers that are dropped at once would count each other.
        drop(follow);
        if last {
            shard.followers.remove(&self.id);
            if let Some(slot) = shard.sensors.find_mut(self.hash, |slot| slot.sensor.id == self.id) {
                slot.sensor.followed = false;
            }
        }
    }
}

/// The place of a sequence number among the readings that are held.
fn place(sequence: u64, first: u64) -> usize {
    usize::try_from(sequence - first).expect("held readings fit into memory")
}

#[cfg(test)]
mod tests {
    use std::{sync::Barrier, thread};

    use futures_util::FutureExt as _;
    use opentelemetry::metrics::{MeterProvider as _, noop::NoopMeterProvider};

    use super::*;
    use crate::{AlertSettings, Limits, memory::timer::Timer};

    #[test]
    fn followers_dropped_at_once_leave_no_entry() {
        let limits = Limits {
            readings_per_sensor: 10,
            sensors: 10,
            readings: 10,
            memory: usize::MAX,
            idle: std::time::Duration::from_mins(1),
            recent_window: 1,
        };
        let alerts = AlertSettings { low: None, high: None, z_score: None };
        let timer = Timer::new(&NoopMeterProvider::new().meter("test"));
        let memory = Arc::new(Memory::new(limits, &alerts, timer));
        let barrier = Barrier::new(2);
        let follow = || {
            let query = Query { follow: true, ..Query::default() };
            MemoryReader::new(&memory, "a", &query).now_or_never().expect("nothing waits")
        };
        let rounds = || {
            let mut left = 0;
            for _ in 0..2000 {
                let reader = follow();
                barrier.wait();
                drop(reader);
                barrier.wait();
                left += memory.lock(shard_of(memory.hash("a"))).followers.len();
                barrier.wait();
            }
            left
        };
        let left = thread::scope(|scope| {
            let other = scope.spawn(rounds);
            rounds() + other.join().expect("it does not panic")
        });
        assert_eq!(left, 0, "entries without a follower");
    }
}
