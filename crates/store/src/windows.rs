use std::{collections::BTreeMap, num::NonZeroU64};

use crate::{MAX_WINDOWS, Reading, StoreError, Window, summary::Summary};

/// Readings summed up by time. They come nearly in order, so that most go into the window of the one before; late ones
/// find theirs in the map.
#[derive(Debug)]
pub(crate) struct Windows {
    step: i64,
    current: (i64, Summary),
    others: BTreeMap<i64, Summary>,
    changes: usize,
}

impl Windows {
    pub(crate) fn new(step: NonZeroU64) -> Self {
        let step = i64::try_from(step.get()).unwrap_or(i64::MAX);
        Self { step, current: (0, Summary::default()), others: BTreeMap::new(), changes: 0 }
    }

    pub(crate) fn add(&mut self, mut readings: &[Reading]) {
        while let [first, ..] = readings {
            let start = self.start(first.timestamp);
            // Not from the start on, which saturates.
            let end = first.timestamp.saturating_add(self.step - first.timestamp.rem_euclid(self.step));
            // A comparison instead of a division for each.
            let inside = |reading: &&Reading| (start..end).contains(&reading.timestamp);
            let count = readings.iter().take_while(inside).count().max(1);
            let (now, later) = readings.split_at(count);
            self.merge(start, &Summary::of(now));
            readings = later;
        }
    }

    /// Adds readings by their summary if they all lie in one window.
    pub(crate) fn add_summary(&mut self, (earliest, latest): (i64, i64), summary: &Summary) -> bool {
        let start = self.start(earliest);
        let fits = start == self.start(latest);
        if fits {
            self.merge(start, summary);
        }
        fits
    }

    /// How often a reading was not in the window of the one before it, which costs a look into the map.
    pub(crate) fn changes(&self) -> usize {
        self.changes
    }

    /// An error as soon as there are too many, so that a request costs no more than the largest answer.
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        if self.others.len() > MAX_WINDOWS { Err(StoreError::TooManyWindows) } else { Ok(()) }
    }

    pub(crate) fn finish(mut self) -> Result<Vec<Window>, StoreError> {
        self.put_back();
        self.check()?;
        Ok(self.others.iter().map(|(start, summary)| window(*start, summary)).collect())
    }

    fn merge(&mut self, start: i64, summary: &Summary) {
        if self.current.0 != start {
            self.changes += 1;
            self.put_back();
            self.current = (start, self.others.remove(&start).unwrap_or_default());
        }
        self.current.1.merge(summary);
    }

    fn put_back(&mut self) {
        let (start, summary) = std::mem::take(&mut self.current);
        if summary.count > 0 {
            self.others.insert(start, summary);
        }
    }

    /// The multiple of the step at or before a timestamp, or `i64::MIN` if that would be earlier.
    fn start(&self, timestamp: i64) -> i64 {
        timestamp.saturating_sub(timestamp.rem_euclid(self.step))
    }
}

fn window(start: i64, summary: &Summary) -> Window {
    let Summary { count, mean, min, max, .. } = *summary;
    Window { start, count, mean, min, max, standard_deviation: summary.standard_deviation() }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn timestamp() -> impl Strategy<Value = i64> {
        prop_oneof![
            -50..50_i64,
            (0..50_i64).prop_map(|after| i64::MIN + after),
            (0..50_i64).prop_map(|before| i64::MAX - before),
            any::<i64>(),
        ]
    }

    fn step() -> impl Strategy<Value = u64> {
        prop_oneof![1..40_u64, any::<u64>().prop_map(|step| step.max(1))]
    }

    proptest! {
        #[test]
        fn windows_match_floor_division_however_readings_are_split(
            timestamps in vec(timestamp(), 1..80), step in step(), sizes in vec(1..9_usize, 1..9),
        ) {
            let step = NonZeroU64::new(step).unwrap();
            let length = i128::from(i64::try_from(step.get()).unwrap_or(i64::MAX));
            let mut expected = BTreeMap::<i64, u64>::new();
            for timestamp in &timestamps {
                let start = i128::from(*timestamp).div_euclid(length) * length;
                *expected.entry(i64::try_from(start).unwrap_or(i64::MIN)).or_default() += 1;
            }
            let readings: Vec<_> =
                timestamps.iter().map(|&timestamp| Reading { temperature: 20.0, timestamp }).collect();
            let (mut windows, mut left) = (Windows::new(step), &readings[..]);
            for size in sizes.iter().cycle() {
                let (some, later) = left.split_at(left.len().min(*size));
                windows.add(some);
                left = later;
                if left.is_empty() {
                    break;
                }
            }
            let found = windows.finish().unwrap();
            let found: BTreeMap<_, _> = found.iter().map(|window| (window.start, window.count)).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
