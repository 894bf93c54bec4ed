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
        if let [one] = readings {
            let value = one.temperature;
            return Self { count: 1, mean: value, m2: 0.0, min: value, max: value };
        }
        let (mut sum, mut min, mut max) = (0.0, f64::INFINITY, f64::NEG_INFINITY);
        for Reading { temperature, .. } in readings {
            sum += temperature;
            min = min.min(*temperature);
            max = max.max(*temperature);
        }
        let mean = if readings.is_empty() { 0.0 } else { sum / readings.len() as f64 };
        let m2 = readings.iter().map(|reading| (reading.temperature - mean).powi(2)).sum();
        Self { count: readings.len() as u64, mean, m2, min, max }
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        let count = self.count + other.count;
        if other.count == 0 {
            return;
        }
        let delta = other.mean - self.mean;
        let share = other.count as f64 / count as f64;
        self.mean += delta * share;
        self.m2 += other.m2 + delta * delta * share * self.count as f64;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        self.count = count;
    }

    /// Of the population: the readings are all there is, not a sample.
    pub(crate) fn standard_deviation(&self) -> f64 {
        if self.count == 0 { 0.0 } else { (self.m2 / self.count as f64).sqrt() }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Summary;
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
    }
}
