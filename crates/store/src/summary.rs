use crate::Reading;

/// Count, mean, spread and range of temperatures, without the temperatures.
///
/// Two summaries merge by the formula of Chan, Golub and `LeVeque` (1979, "Updating formulae and a pairwise algorithm
/// for computing sample variances"); merging one reading at a time is Welford's (1962).
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Summary {
    pub(crate) count: u64,
    pub(crate) mean: f64,
    /// Sum of the squared distances from the mean.
    pub(crate) m2: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Default for Summary {
    fn default() -> Self {
        Self { count: 0, mean: 0.0, m2: 0.0, min: f64::INFINITY, max: f64::NEG_INFINITY }
    }
}

impl Summary {
    pub(crate) fn of(readings: &[Reading]) -> Self {
        match readings {
            [] => return Self::default(),
            [Reading { temperature, .. }] => {
                return Self { count: 1, mean: *temperature, m2: 0.0, min: *temperature, max: *temperature };
            }
            _ => {}
        }
        let (mut sum, mut min, mut max) = (0.0, f64::INFINITY, f64::NEG_INFINITY);
        for Reading { temperature, .. } in readings {
            sum += temperature;
            min = smaller(*temperature, min);
            max = larger(*temperature, max);
        }
        let mean = between(sum / readings.len() as f64, min, max);
        let m2 = readings.iter().map(|reading| (reading.temperature - mean).powi(2)).sum();
        Self { count: readings.len() as u64, mean, m2, min, max }
    }

    /// Merges one temperature, as [`merge`](Self::merge) would do.
    pub(crate) fn add(&mut self, temperature: f64) {
        let count = self.count + 1;
        let delta = temperature - self.mean;
        let share = 1.0 / float(count);
        self.m2 += delta * delta * share * float(self.count);
        self.min = smaller(temperature, self.min);
        self.max = larger(temperature, self.max);
        self.mean = between(self.mean + delta * share, self.min, self.max);
        self.count = count;
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        let count = self.count + other.count;
        if other.count == 0 {
            return;
        }
        let delta = other.mean - self.mean;
        let share = float(other.count) / float(count);
        self.m2 += other.m2 + delta * delta * share * float(self.count);
        self.min = smaller(other.min, self.min);
        self.max = larger(other.max, self.max);
        self.mean = between(self.mean + delta * share, self.min, self.max);
        self.count = count;
    }

    /// Of the population: the readings are all there is, not a sample. Equal ones have none, whatever was rounded.
    pub(crate) fn standard_deviation(&self) -> f64 {
        if self.min < self.max { (self.m2 / self.count as f64).sqrt() } else { 0.0 }
    }
}

/// The arithmetic mean of values, 0 of none.
pub(crate) fn mean(values: &[f64]) -> f64 {
    if values.is_empty() {
        return 0.0;
    }
    let (mut sum, mut min, mut max) = (0.0, f64::INFINITY, f64::NEG_INFINITY);
    for value in values {
        sum += value;
        min = smaller(*value, min);
        max = larger(*value, max);
    }
    between(sum / values.len() as f64, min, max)
}

/// A mean without the rounding that takes it out of the range of its values: ten times 21.3 is a sum of more than 213.
/// Not [`f64::clamp`], which panics where the values are no numbers.
pub(crate) fn between(mean: f64, min: f64, max: f64) -> f64 {
    smaller(larger(mean, min), max)
}

/// The smaller of two numbers, `other` if either is NaN: an instruction of x86-64, where [`f64::min`] takes seven to return
/// the number. Temperatures are never NaN, and what they are compared with begins as an infinity.
fn smaller(one: f64, other: f64) -> f64 {
    if one < other { one } else { other }
}

/// The larger of two numbers, `other` if either is NaN.
fn larger(one: f64, other: f64) -> f64 {
    if one > other { one } else { other }
}

/// A count, which is far below 2^63: x86-64 converts signed integers in one instruction, others in eight.
fn float(count: u64) -> f64 {
    count.cast_signed() as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Summary, mean};
    use crate::Reading;

    proptest! {
        /// The counts are those of a century of a million readings a second.
        #[test]
        fn summaries_of_the_accepted_range_stay_finite(
            parts in prop::collection::vec((-273.15..=1e6_f64, -273.15..=1e6_f64, 1..1_u64 << 52), 1..50),
        ) {
            let mut merged = Summary::default();
            for (one, other, count) in parts {
                let [low, high] = [one.min(other), one.max(other)];
                let part = Summary { count, mean: f64::midpoint(low, high), m2: (high - low).powi(2) / 4.0 * count as f64, min: low, max: high };
                merged.merge(&part);
                prop_assert!(merged.mean.is_finite() && merged.m2.is_finite());
                prop_assert!((0.0..=1_000_274.0).contains(&merged.standard_deviation()), "{:?}", merged);
            }
        }

        #[test]
        fn merged_parts_equal_the_whole(
            parts in prop::collection::vec(prop::collection::vec(-80.0..80.0_f64, 0..20), 1..8),
        ) {
            let readings = |values: &[f64]| -> Vec<Reading> {
                values.iter().map(|&temperature| Reading { temperature, timestamp: 0 }).collect()
            };
            let mut merged = Summary::default();
            for part in &parts {
                merged.merge(&Summary::of(&readings(part)));
            }
            let all = parts.concat();
            let mean = all.iter().sum::<f64>() / all.len().max(1) as f64;
            let m2: f64 = all.iter().map(|value| (value - mean).powi(2)).sum();
            prop_assert_eq!(merged.count, all.len() as u64);
            prop_assert!((merged.mean - mean).abs() < 1e-9);
            prop_assert!((merged.m2 - m2).abs() < 1e-6);
            prop_assert_eq!(merged.min.to_bits(), all.iter().copied().fold(f64::INFINITY, f64::min).to_bits());
            prop_assert_eq!(merged.max.to_bits(), all.iter().copied().fold(f64::NEG_INFINITY, f64::max).to_bits());
        }

        #[test]
        fn added_temperature_equals_merged_reading(temperatures in prop::collection::vec(-80.0..80.0_f64, 1..50)) {
            let (mut added, mut merged) = (Summary::default(), Summary::default());
            for temperature in temperatures {
                added.add(temperature);
                merged.merge(&Summary::of(&[Reading { temperature, timestamp: 0 }]));
            }
            prop_assert_eq!(added, merged);
        }

        #[test]
        fn means_lie_between_the_lowest_and_the_highest(
            parts in prop::collection::vec((-900..900_i32, 0..3_i32, 1..30_i32), 1..8),
        ) {
            let mut merged = Summary::default();
            let (mut least, mut most) = (f64::INFINITY, f64::NEG_INFINITY);
            for (tenths, spread, count) in parts {
                let values: Vec<_> = (0..count).map(|at| f64::from(tenths + at % (spread + 1)) / 10.0).collect();
                let readings: Vec<_> = values.iter().map(|&temperature| Reading { temperature, timestamp: 0 }).collect();
                let part = Summary::of(&readings);
                prop_assert!((part.min..=part.max).contains(&part.mean), "{:?}", part);
                prop_assert_eq!(mean(&values).to_bits(), part.mean.to_bits());
                merged.merge(&part);
                (least, most) = (least.min(part.min), most.max(part.max));
                prop_assert!((least..=most).contains(&merged.mean), "{:?}", merged);
            }
        }

        #[test]
        fn equal_values_deviate_by_nothing(tenths in -900..900_i32, counts in prop::collection::vec(1..30_usize, 1..8)) {
            let temperature = f64::from(tenths) / 10.0;
            let mut merged = Summary::default();
            for count in counts {
                merged.merge(&Summary::of(&vec![Reading { temperature, timestamp: 0 }; count]));
            }
            prop_assert_eq!((merged.mean, merged.standard_deviation()), (temperature, 0.0));
        }
    }
}
