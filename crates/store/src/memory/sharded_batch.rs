//! A batch sorted by shard, so that each shard is locked once.
//!
//! Sorting moves nothing: the readings stay where they are in the batch, and `links` has for each the place of the next
//! one of the same shard. `heads` has the place of a shard's first one:
//!
//! ```text
//! place     0    1    2    3    4         heads[7] = 0, heads[9] = 1
//! sensor    a    b    a    c    b
//! shard     7    9    7    7    9
//! next      2    4    3    -    -         chain of 7: 0 → 2 → 3, of 9: 1 → 4
//! ```
//!
//! `next_run` cuts a chain where the sensor changes: `a a`, then `c`. What sensors that share a shard send in
//! turns gives runs of one, which is right but looks the sensor up each time.

use hashbrown::DefaultHashBuilder;

use super::{SHARDS, hash_of, sensor::Run, shard_of};
use crate::{Batch, Reading, SensorId};

const NONE: u32 = u32::MAX;

/// The readings of a batch chained by shard, in order of arrival; its allocations are reused.
#[derive(Debug)]
pub(super) struct ShardedBatch {
    heads: [u32; SHARDS],
    /// The shards that have readings.
    touched: Vec<u32>,
    links: Vec<Link>,
    readings: Vec<Reading>,
    places: Vec<u32>,
}

#[derive(Debug, Clone, Copy)]
struct Link {
    hash: u64,
    next: u32,
}

impl Default for ShardedBatch {
    fn default() -> Self {
        Self {
            heads: [NONE; SHARDS],
            touched: Vec::new(),
            links: Vec::new(),
            readings: Vec::new(),
            places: Vec::new(),
        }
    }
}

impl ShardedBatch {
    /// Chains the batch, last reading first, so that each chain begins with its first.
    pub(super) fn partition(&mut self, batch: &Batch, hasher: &DefaultHashBuilder) {
        self.links.clear();
        self.links.resize(batch.len(), Link { hash: 0, next: NONE });
        let mut last = (&b""[..], hash_of(hasher, b""));
        for index in (0..batch.len()).rev() {
            let id = batch.sensor(index).as_bytes();
            if id != last.0 {
                last = (id, hash_of(hasher, id));
            }
            let shard = shard_of(last.1);
            let head = &mut self.heads[shard];
            if *head == NONE {
                self.touched.push(u32::try_from(shard).expect("few shards"));
            }
            self.links[index] = Link { hash: last.1, next: *head };
            *head = u32::try_from(index).expect("a batch is far smaller");
        }
    }

    /// Takes one of the shards that have readings, and the place of its first one.
    pub(super) fn next_shard(&mut self) -> Option<(usize, Cursor)> {
        let shard = self.touched.pop()? as usize;
        Some((shard, Cursor(std::mem::replace(&mut self.heads[shard], NONE))))
    }

    /// The next run of readings of one sensor in a shard's chain: its hash, its id and its readings.
    pub(super) fn next_run<'a>(
        &mut self,
        batch: &'a Batch,
        cursor: &mut Cursor,
    ) -> Option<(u64, SensorId<'a>, Run<'_>)> {
        if cursor.0 == NONE {
            return None;
        }
        self.readings.clear();
        self.places.clear();
        let (id, hash) = (batch.sensor(cursor.0 as usize), self.links[cursor.0 as usize].hash);
        loop {
            let place = cursor.0 as usize;
            self.readings.push(batch.reading(place));
            self.places.push(cursor.0);
            cursor.0 = self.links[place].next;
            let next = cursor.0 as usize;
            if cursor.0 == NONE || self.links[next].hash != hash || batch.sensor(next) != id {
                break;
            }
        }
        Some((hash, id, Run { readings: &self.readings, places: &self.places }))
    }
}

/// A place in a shard's chain.
#[derive(Debug)]
pub(super) struct Cursor(u32);
