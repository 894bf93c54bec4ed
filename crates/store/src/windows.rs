use std::{collections::BTreeMap, num::NonZeroU64};

use crate::{MAX_WINDOWS, Reading, StoreError, Window, summary::Summary};

/// Readings summed up by time. They come nearly in order, so that most go into the window of the one before; late ones
/// find theirs in the map.
#[derive(Debug)]
pub(crate) struct Windows {
    step: i64,
    current: (i64, Summary),
    others: BTreeMap<i64, Summary>,
}

impl Windows {
    pub(crate) fn new(step: NonZeroU64) -> Self {
        let step = i64::try_from(step.get()).unwrap_or(i64::MAX);
        Self { step, current: (0, Summary::default()), others: BTreeMap::new() }
    }

    pub(crate) fn add(&mut self, mut readings: &[Reading]) {
        while let [first, ..] = readings {
            let start = self.start(first.timestamp);
            // A comparison instead of a division for each.
            let inside =
                |reading: &&Reading| (start..start.saturating_add(self.step)).contains(&reading.timestamp);
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

    /// The multiple of the step at or before a timestamp.
    fn start(&self, timestamp: i64) -> i64 {
        timestamp.saturating_sub(timestamp.rem_euclid(self.step))
    }
}

fn window(start: i64, summary: &Summary) -> Window {
    let Summary { count, mean, min, max, .. } = *summary;
    Window { start, count, mean, min, max, standard_deviation: summary.standard_deviation() }
}
