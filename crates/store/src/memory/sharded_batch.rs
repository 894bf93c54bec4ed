//! A batch grouped by shard and sensor, so that each shard is locked once and each sensor looked up once.
//!
//! Grouping moves nothing: the readings stay where they are in the batch. Those of one sensor are a *run*, chained by
//! `same` from its first to its last; the runs of a shard are chained by `next`, and `heads` has the first run of each
//! shard:
//!
//! ```text
//! place     0    1    2    3    4         run 0: b, first 1, last 4, next -
//! sensor    a    b    a    c    b         run 1: c, first 3, last 3, next 0     heads[7] = 1
//! shard     9    7    9    7    7         run 2: a, first 0, last 2, next -     heads[9] = 2
//! same      2    4    -    -    -
//! ```
//!
//! The batch is walked backwards, so a run is found by its last reading and grows at its front. Its sensor is remembered
//! in `recent`, a table without chains: of two sensors that fall on one entry the one seen last has it, and the other's
//! earlier readings get a run of their own. Runs of a shard are walked in the opposite order of their discovery, so that
//! run comes before the one that has the later readings.

use std::slice;

use hashbrown::DefaultHashBuilder;

use super::{
    hash::{SHARDS, hash_of, shard_of},
    sensor::Run,
};
use crate::{Batch, Reading, SensorId};

const NONE: u32 = u32::MAX;
/// Entries of the table of recent sensors at most: 16 KiB, which stay in the first cache.
const RECENT: usize = 4096;

/// The readings of a batch, grouped; its allocations are reused.
#[derive(Debug)]
pub(super) struct ShardedBatch {
    heads: [u32; SHARDS],
    /// The shards that have readings.
    touched: Vec<u32>,
    links: Vec<Link>,
    /// For each reading the next one of its run, unless it is the last.
    same: Vec<u32>,
    /// Links by the lowest bits of their hash.
    recent: Vec<u32>,
    readings: Vec<Reading>,
    places: Vec<u32>,
}

/// A run.
#[derive(Debug, Clone, Copy)]
struct Link {
    hash: u64,
    first: u32,
    last: u32,
    /// The next run of the shard.
    next: u32,
}

impl Default for ShardedBatch {
    fn default() -> Self {
        Self {
            heads: [NONE; SHARDS],
            touched: Vec::new(),
            links: Vec::new(),
            same: Vec::new(),
            recent: Vec::new(),
            readings: Vec::new(),
            places: Vec::new(),
        }
    }
}

impl ShardedBatch {
    /// Groups a batch.
    pub(super) fn partition(&mut self, batch: &Batch, hasher: &DefaultHashBuilder) {
        // A panic leaves the rest of its batch here.
        for shard in self.touched.drain(..) {
            self.heads[shard as usize] = NONE;
        }
        self.links.clear();
        self.same.resize(batch.len(), NONE);
        self.recent.clear();
        self.recent.resize((2 * batch.len()).next_power_of_two().min(RECENT), NONE);
        for index in (0..batch.len()).rev() {
            let id = batch.sensor(index);
            let hash = hash_of(hasher, id.as_bytes());
            let place = u32::try_from(index).expect("a batch is far smaller");
            let entry = usize::try_from(hash).unwrap_or(0) & (self.recent.len() - 1);
            let recent = &mut self.recent[entry];
            if let Some(link) = self.links.get_mut(*recent as usize)
                && link.hash == hash
                && batch.sensor(link.last as usize) == id
            {
                self.same[index] = link.first;
                link.first = place;
                continue;
            }
            *recent = u32::try_from(self.links.len()).expect("there are no more runs than readings");
            let shard = shard_of(hash);
            let head = &mut self.heads[shard];
            if *head == NONE {
                self.touched.push(u32::try_from(shard).expect("few shards"));
            }
            self.links.push(Link { hash, first: place, last: place, next: *head });
            *head = *recent;
        }
    }

    /// Takes one of the shards that have readings, and its first run.
    pub(super) fn next_shard(&mut self) -> Option<(usize, Cursor)> {
        let shard = self.touched.pop()? as usize;
        Some((shard, Cursor(std::mem::replace(&mut self.heads[shard], NONE))))
    }

    /// The next run of a shard: its hash, its sensor and its readings.
    #[inline]
    pub(super) fn next_run<'a>(
        &'a mut self,
        batch: &'a Batch,
        cursor: &mut Cursor,
    ) -> Option<(u64, SensorId<'a>, Run<'a>)> {
        let link = self.links.get(cursor.0 as usize)?;
        let Link { hash, first, last, next } = *link;
        cursor.0 = next;
        let id = batch.sensor(last as usize);
        if first == last {
            let readings = slice::from_ref(batch.reading(first as usize));
            return Some((hash, id, Run { readings, places: slice::from_ref(&link.first) }));
        }
        self.readings.clear();
        self.places.clear();
        let mut place = first;
        loop {
            self.readings.push(*batch.reading(place as usize));
            self.places.push(place);
            if place == last {
                break;
            }
            place = self.same[place as usize];
        }
        let run = Run { readings: &self.readings, places: &self.places };
        Some((hash, id, run))
    }
}

/// A run of a shard, or none.
#[derive(Debug)]
pub(super) struct Cursor(u32);

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn batch_of(sensors: &[u16]) -> Batch {
        let mut batch = Batch::default();
        for (at, sensor) in (0_i32..).zip(sensors) {
            let reading = Reading { temperature: f64::from(at), timestamp: at.into() };
            batch.push(&format!("sensor-{sensor}"), reading);
        }
        batch
    }

    /// The places of each sensor's readings in the order of its runs, and how many runs there are.
    fn runs(
        sharded: &mut ShardedBatch,
        hasher: &DefaultHashBuilder,
        batch: &Batch,
    ) -> (BTreeMap<String, Vec<u32>>, usize) {
        let (mut found, mut count) = (BTreeMap::<String, Vec<u32>>::new(), 0);
        let mut shards = Vec::new();
        sharded.partition(batch, hasher);
        while let Some((shard, mut cursor)) = sharded.next_shard() {
            assert!(!shards.contains(&shard), "shard {shard} comes twice");
            shards.push(shard);
            while let Some((hash, id, run)) = sharded.next_run(batch, &mut cursor) {
                assert_eq!((hash, shard_of(hash)), (hash_of(hasher, id.as_bytes()), shard));
                let readings: Vec<_> = run.places.iter().map(|&at| *batch.reading(at as usize)).collect();
                assert_eq!(run.readings, readings);
                found.entry(id.as_str().to_owned()).or_default().extend(run.places);
                count += 1;
            }
        }
        (found, count)
    }

    fn expected(sensors: &[u16]) -> BTreeMap<String, Vec<u32>> {
        let mut expected = BTreeMap::<String, Vec<u32>>::new();
        for (place, sensor) in (0..).zip(sensors) {
            expected.entry(format!("sensor-{sensor}")).or_default().push(place);
        }
        expected
    }

    proptest! {
        /// One grouping after the other, as appends do it, the first of them interrupted.
        #[test]
        fn runs_keep_the_order_of_each_sensor(
            batches in vec((1..400_u16).prop_flat_map(|sensors| vec(0..sensors, 0..400)), 2..4),
        ) {
            let (mut sharded, hasher) = (ShardedBatch::default(), DefaultHashBuilder::default());
            sharded.partition(&batch_of(&batches[0]), &hasher);
            sharded.next_shard();
            for sensors in &batches[1..] {
                let (found, _) = runs(&mut sharded, &hasher, &batch_of(sensors));
                prop_assert_eq!(found, expected(sensors));
            }
        }
    }

    #[test]
    fn sensors_in_turns_have_few_runs() {
        let sensors: Vec<_> = (0..500).map(|at| at % 50).collect();
        let (mut sharded, hasher) = (ShardedBatch::default(), DefaultHashBuilder::default());
        let (found, count) = runs(&mut sharded, &hasher, &batch_of(&sensors));
        assert_eq!(found, expected(&sensors));
        // A few of them fall on one entry of the table.
        assert!((50..200).contains(&count), "{count} runs of 50 sensors");
    }

    #[test]
    fn more_sensors_than_are_remembered_keep_their_order() {
        let sensors: Vec<_> = (0..12_000).map(|at| at % 5999).collect();
        let (mut sharded, hasher) = (ShardedBatch::default(), DefaultHashBuilder::default());
        assert_eq!(runs(&mut sharded, &hasher, &batch_of(&sensors)).0, expected(&sensors));
    }
}
