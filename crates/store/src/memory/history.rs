//! The readings of one sensor, most of them compressed.
//!
//! Readings enter the tail. When it is full, its oldest frame is compressed into the growing block; a full block never
//! changes again. Eviction takes readings from the front: `skipped` counts those that are evicted and still in memory.
//! Every change of an allocation sets `resized`, which is how the shard's count of memory stays exact.

use std::collections::VecDeque;

use super::{
    block::{BLOCK, Block},
    codec::{FRAME, State},
};
use crate::{Reading, summary::Summary};

/// The number of readings that are kept uncompressed before the oldest [`FRAME`] of them are compressed. The newest readings
/// of a sensor are read most often, and at least three of them need no decompression. With more, the tail would need the
/// allocator's next larger size class.
const TAIL: usize = FRAME + 3;

/// The readings of one sensor, oldest first: full blocks, the block that grows, and the newest readings uncompressed.
///
/// Readings are evicted one by one; memory is freed when all readings of a block are evicted. Until then, the oldest block
/// begins with `skipped` evicted readings.
#[derive(Debug, Default)]
pub(super) struct History {
    full: VecDeque<Block>,
    growing: Block,
    encoder: State,
    tail: Vec<Reading>,
    skipped: u32,
    resized: bool,
    /// Bytes of the full blocks' streams.
    full_bytes: usize,
    /// The last two, the older first.
    checkpoints: [Checkpoint; 2],
}

/// An earlier state of the encoder, from which the newest readings can be decompressed without those before them in their
/// block: the detector reads 64 of them every 64 readings, and also when a reading in between stands out. Then there are too
/// few readings since the last checkpoint, and it reads from the one before it.
#[derive(Debug, Default, Clone, Copy)]
struct Checkpoint {
    value: f64,
    /// The length in bits of the growing block's stream at that time.
    bits: u32,
    mode: u8,
    /// Frames compressed since then, counted up to 255, which is far more than are read.
    frames: u8,
}

/// A run of readings that are stored together.
#[derive(Debug, Clone, Copy)]
pub(super) enum Part<'a> {
    /// A block without this number of readings at its beginning.
    Block(&'a Block, usize),
    Tail(&'a [Reading]),
}

impl History {
    pub(super) fn len(&self) -> usize {
        self.full.len() * BLOCK + self.growing.len() + self.tail.len() - self.skipped as usize
    }

    /// Whether [`bytes`](Self::bytes) may have changed since this was last asked. Most appends change nothing, and adding
    /// it up takes longer than they do.
    pub(super) fn take_resized(&mut self) -> bool {
        std::mem::take(&mut self.resized)
    }

    /// The bytes that are allocated for it.
    pub(super) fn bytes(&self) -> usize {
        self.full_bytes
            + self.full.capacity() * size_of::<Block>()
            + self.growing.bytes()
            + self.tail.capacity() * size_of::<Reading>()
    }

    pub(super) fn last(&self) -> Option<&Reading> {
        self.tail.last()
    }

    #[inline]
    pub(super) fn push(&mut self, reading: Reading) {
        self.reserve_tail(1);
        self.tail.push(reading);
        if self.tail.len() == TAIL {
            self.compress();
        }
    }

    pub(super) fn append(&mut self, mut readings: &[Reading]) {
        while !readings.is_empty() {
            self.reserve_tail(readings.len());
            let (now, later) = readings.split_at(readings.len().min(TAIL - self.tail.len()));
            self.tail.extend_from_slice(now);
            readings = later;
            if self.tail.len() == TAIL {
                self.compress();
            }
        }
    }

    /// Drops the oldest `count` readings. There must be at least as many.
    pub(super) fn evict(&mut self, count: usize) {
        if count == 0 {
            return;
        }
        let mut count = self.skipped as usize + count;
        while count >= BLOCK && !self.full.is_empty() {
            count -= BLOCK;
            self.drop_full();
        }
        if self.full.is_empty() && count >= self.growing.len() {
            count -= self.growing.len();
            self.growing = Block::default();
            self.resized = true;
            self.checkpoints = Default::default();
            self.tail.drain(..count);
            count = 0;
        }
        self.skipped = u32::try_from(count).expect("less than a block");
    }

    /// Frees the oldest memory there is to free, and returns how many readings went with it. At least one reading
    /// stays.
    pub(super) fn evict_oldest_block(&mut self) -> usize {
        let block = self.full.front().unwrap_or(&self.growing).len();
        let count = if block == 0 { self.tail.len() / 2 } else { block - self.skipped as usize };
        self.evict(count);
        if block == 0 {
            self.tail.shrink_to_fit();
            self.resized = true;
        }
        count
    }

    /// The readings from a place on (0 is the oldest) that lie together with it.
    pub(super) fn part(&self, place: usize) -> Part<'_> {
        let place = place + self.skipped as usize;
        match self.full.get(place / BLOCK) {
            Some(block) => Part::Block(block, place % BLOCK),
            None => match place - self.full.len() * BLOCK {
                place if place < self.growing.len() => Part::Block(&self.growing, place),
                place => Part::Tail(&self.tail[(place - self.growing.len()).min(self.tail.len())..]),
            },
        }
    }

    /// The place where the part begins that ends before `place`, which is not 0.
    pub(super) fn part_before(&self, place: usize) -> usize {
        let last = place - 1 + self.skipped as usize;
        let compressed = self.full.len() * BLOCK + self.growing.len();
        let begin = if last < compressed { last - last % BLOCK } else { compressed };
        begin.saturating_sub(self.skipped as usize)
    }

    /// The temperatures of the newest readings, oldest of them first.
    pub(super) fn newest(&self, count: usize) -> Vec<f64> {
        let count = count.min(self.len());
        let mut temperatures = Vec::with_capacity(count + 8 * FRAME);
        if !self.since_checkpoint(count.saturating_sub(self.tail.len()), &mut temperatures) {
            let (mut place, tail) = (self.len() - count, self.len() - self.tail.len());
            while place < tail {
                place += self.part(place).read(|readings| {
                    temperatures.extend(readings.iter().map(|reading| reading.temperature));
                });
            }
        }
        temperatures.extend(self.tail.iter().map(|reading| reading.temperature));
        temperatures.drain(..temperatures.len() - count);
        temperatures
    }

    /// Remembers where the encoder stands.
    pub(super) fn set_checkpoint(&mut self) {
        let (value, mode) = self.encoder.temperature();
        let mode = u8::try_from(mode).expect("there are few modes");
        let [_, last] = self.checkpoints;
        self.checkpoints = [last, Checkpoint { value, bits: self.growing.bits(), mode, frames: 0 }];
    }

    /// Decompresses all temperatures since a checkpoint; false if that are fewer than `wanted` or much more.
    fn since_checkpoint(&self, wanted: usize, out: &mut Vec<f64>) -> bool {
        if wanted == 0 {
            return true;
        }
        let suffices = |checkpoint: &&Checkpoint| usize::from(checkpoint.frames) * FRAME >= wanted;
        let Some(&Checkpoint { value, bits, mode, frames }) = self.checkpoints.iter().rev().find(suffices)
        else {
            return false;
        };
        let (frames, growing) = (usize::from(frames), self.growing.len() / FRAME);
        if frames > BLOCK / FRAME {
            return false;
        }
        let state = State::of_temperature((value, mode.into()));
        if frames <= growing {
            self.growing.temperatures(bits, state, frames, out);
            return true;
        }
        let Some(last) = self.full.back() else { return false };
        last.temperatures(bits, state, frames - growing, out);
        self.growing.temperatures(0, state, growing, out);
        true
    }

    /// Small sensors stay small: many never have more than a few readings.
    #[inline]
    fn reserve_tail(&mut self, more: usize) {
        let wanted = (self.tail.len() + more).min(TAIL);
        if wanted > self.tail.capacity() {
            let capacity = wanted.max(self.tail.capacity() * 2).clamp(4, TAIL);
            self.tail.reserve_exact(capacity - self.tail.len());
            self.resized = true;
        }
    }

    #[inline(never)]
    fn compress(&mut self) {
        let frame = self.tail.first_chunk::<FRAME>().expect("the tail is full");
        self.growing.push(&mut self.encoder, frame);
        self.resized = true;
        for checkpoint in &mut self.checkpoints {
            checkpoint.frames = checkpoint.frames.saturating_add(1);
        }
        self.tail.drain(..FRAME);
        if self.growing.len() == BLOCK {
            let mut block = std::mem::take(&mut self.growing);
            block.seal();
            if self.full.len() == self.full.capacity() {
                self.full.reserve_exact(self.full.len() / 8 + 1);
            }
            self.full_bytes += block.bytes();
            self.full.push_back(block);
        }
    }

    fn drop_full(&mut self) {
        if let Some(block) = self.full.pop_front() {
            self.full_bytes -= block.bytes();
            self.resized = true;
        }
        if self.full.len() < self.full.capacity() / 4 {
            self.full.shrink_to(self.full.len() + 8);
        }
    }
}

impl Part<'_> {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Block(block, skip) => block.len() - skip,
            Self::Tail(readings) => readings.len(),
        }
    }

    /// The first and the last second in it, or around it; of the tail it is not worth knowing.
    pub(super) fn span(&self) -> (i64, i64) {
        match self {
            Self::Block(block, _) => block.span(),
            Self::Tail(_) => (i64::MIN, i64::MAX),
        }
    }

    /// Returns the summary of all its readings, if there is one without decompressing.
    pub(super) fn summary(&self) -> Option<&Summary> {
        match self {
            Self::Block(block, 0) => Some(block.summary()),
            _ => None,
        }
    }

    /// Hands the readings on and returns how many there are.
    pub(super) fn read(&self, mut each: impl FnMut(&[Reading])) -> usize {
        match self {
            Self::Block(block, skip) => block.read(*skip, each),
            Self::Tail(readings) => each(readings),
        }
        self.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::{History, TAIL};
    use crate::{
        Reading,
        memory::{block::BLOCK, sensor::Sensor},
    };

    fn readings(first: usize, count: usize) -> Vec<Reading> {
        (first..first + count)
            .map(|at| Reading {
                temperature: (at * 37 % 601) as f64 / 10.0,
                timestamp: i64::try_from(at).unwrap(),
            })
            .collect()
    }

    fn all(history: &History) -> Vec<Reading> {
        let mut found = Vec::new();
        while found.len() < history.len() {
            history.part(found.len()).read(|some| found.extend_from_slice(some));
        }
        found
    }

    proptest! {
        /// Against a plain list, at every kind of border: tail, growing block, full blocks.
        #[test]
        fn appends_and_evictions_agree_with_a_list(
            steps in vec((0..3 * BLOCK, 0..3 * BLOCK), 1..8),
            places in vec(any::<prop::sample::Index>(), 8),
        ) {
            let (mut history, mut list, mut sent) = (History::default(), Vec::new(), 0);
            for (more, less) in steps {
                let bytes = history.bytes();
                let new = readings(sent, more);
                sent += more;
                history.append(&new);
                list.extend(new);
                let less = less.min(list.len().saturating_sub(1));
                history.evict(less);
                list.drain(..less);
                prop_assert_eq!(history.len(), list.len());
                prop_assert!(history.take_resized() || history.bytes() == bytes);
                prop_assert_eq!(&all(&history), &list);
                for place in places.iter().filter(|_| !list.is_empty()).map(|place| place.index(list.len())) {
                    let part = history.part(place);
                    let mut found = Vec::new();
                    prop_assert_eq!(part.read(|some| found.extend_from_slice(some)), found.len());
                    prop_assert_eq!(&found[..], &list[place..place + found.len()]);
                    let begin = history.part_before(place + 1);
                    prop_assert!(begin <= place && place < begin + history.part(begin).len());
                }
                let newest: Vec<_> = list[list.len().saturating_sub(70)..].iter().map(|reading| reading.temperature).collect();
                prop_assert_eq!(history.newest(70), newest);
            }
        }
    }

    proptest! {
        /// With checkpoints in the growing block, in the full one before, at borders, and none at all.
        #[test]
        fn newest_agrees_with_a_list_wherever_the_checkpoint_is(
            steps in vec((0..100_usize, any::<bool>(), prop_oneof![9 => Just(0), 1 => 0..2 * BLOCK]), 1..60),
        ) {
            let (mut history, mut list) = (History::default(), Vec::new());
            for (more, checkpoint, less) in steps {
                let new = readings(list.len(), more);
                history.append(&new);
                list.extend(new.iter().map(|reading| reading.temperature));
                history.evict(less.min(history.len().saturating_sub(1)));
                if checkpoint {
                    history.set_checkpoint();
                }
                for count in [1, 16, 64, 500] {
                    let count = count.min(history.len());
                    prop_assert_eq!(&history.newest(count)[..], &list[list.len() - count..]);
                }
            }
        }
    }

    #[test]
    fn memory_is_freed_block_by_block() {
        let mut history = History::default();
        history.append(&readings(0, 10 * BLOCK));
        while history.len() > 1 {
            let (bytes, held) = (history.bytes(), history.len());
            let evicted = history.evict_oldest_block();
            assert_eq!(history.len(), held - evicted);
            assert!(history.bytes() < bytes, "{bytes} bytes stay allocated");
            assert_eq!(all(&history), readings(10 * BLOCK - history.len(), history.len()));
        }
    }

    #[test]
    fn evicted_blocks_leave_no_room_reserved() {
        let mut history = History::default();
        history.append(&readings(0, 200 * BLOCK));
        let reserved = history.full.capacity();
        history.evict(197 * BLOCK);
        assert_eq!(all(&history), readings(197 * BLOCK, 3 * BLOCK));
        assert!(reserved >= 199 && history.full.capacity() <= 48, "{} reserved", history.full.capacity());
    }

    #[test]
    fn few_readings_take_little_memory() {
        let mut history = History::default();
        history.append(&readings(0, 1));
        assert_eq!(history.bytes(), 4 * size_of::<Reading>());
        history.append(&readings(1, TAIL));
        assert!(history.bytes() < 512 + TAIL * size_of::<Reading>());
    }

    /// 10,000 readings at a steady interval; the goals of docs/decisions/0009-compressed-history.md.
    #[test]
    fn readings_take_few_bytes() {
        const COUNT: usize = 10_000;
        let mut random = fastrand::Rng::with_seed(20);
        let mut bytes = |mut next: Box<dyn FnMut(&mut fastrand::Rng) -> f64>| {
            let mut history = History::default();
            for timestamp in (1_700_000_000..).step_by(10).take(COUNT) {
                history.append(&[Reading { temperature: next(&mut random), timestamp }]);
            }
            (history.bytes() + size_of::<Sensor>()) as f64 / COUNT as f64
        };
        let mut walk = 200;
        let random_walk = bytes(Box::new(move |random| {
            walk += random.i32(-3..=3);
            f64::from(walk) / 10.0
        }));
        let uniform = bytes(Box::new(|random| f64::from(random.i32(-200..=400)) / 10.0));
        let noise = bytes(Box::new(|random| 20.0 + random.f64()));
        println!("random walk {random_walk:.2} B, uniform {uniform:.2} B, noise {noise:.2} B a reading");
        assert!(random_walk < 1.0 && uniform < 2.0 && noise < 9.0);
    }

    /// What docs/configuration.md says of the worst.
    #[test]
    fn random_timestamps_take_up_to_19_bytes() {
        let mut random = fastrand::Rng::with_seed(20);
        let mut history = History::default();
        for _ in 0..10_000 {
            let temperature = f64::from_bits(random.u64(..) & !(1 << 62));
            history.append(&[Reading { temperature, timestamp: random.i64(..) }]);
        }
        let bytes = history.bytes() as f64 / 10_000.0;
        println!("{bytes:.2} B a reading");
        assert!(bytes < 19.0);
    }
}
