//! Exponential backoff with jitter, as in gRFC A6 and gRPC's connection backoff.

use std::time::Duration;

/// The factor from one wait to the next.
const MULTIPLIER: f64 = 1.6;
/// The fraction by which a wait is at most shorter or longer than its nominal length.
const JITTER: f64 = 0.2;

/// Computes the wait before the next attempt.
#[derive(Debug, Clone)]
pub(crate) struct Backoff {
    initial: Duration,
    max: Duration,
    next: Duration,
}

impl Backoff {
    pub(crate) fn new(initial: Duration, max: Duration) -> Self {
        Self { initial, max, next: initial }
    }

    /// Returns the next wait. Waits grow up to the maximum.
    pub(crate) fn next(&mut self) -> Duration {
        let wait = jitter(self.next);
        self.next = self.next.mul_f64(MULTIPLIER).min(self.max);
        wait
    }

    /// Makes the next wait the shortest again, after a success.
    pub(crate) fn reset(&mut self) {
        self.next = self.initial;
    }
}

/// Returns `length`, up to 20 % shorter or longer, so that many clients do not act at the same moment.
pub(crate) fn jitter(length: Duration) -> Duration {
    length.mul_f64(1.0 + JITTER * (2.0 * fastrand::f64() - 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_grows_to_its_maximum_and_resets() {
        let second = Duration::from_secs(1);
        let mut backoff = Backoff::new(second, 5 * second);
        for nominal in [1.0, 1.6, 2.56, 4.096, 5.0, 5.0] {
            let wait = backoff.next().as_secs_f64();
            assert!((nominal * 0.8 - 1e-6..=nominal * 1.2 + 1e-6).contains(&wait), "{wait} for {nominal}");
        }
        backoff.reset();
        assert!(backoff.next() <= second.mul_f64(1.2));
    }

    #[test]
    fn delays_are_spread() {
        let waits: Vec<_> = (0..50).map(|_| jitter(Duration::from_secs(1))).collect();
        assert!(
            waits.iter().max().unwrap().abs_diff(*waits.iter().min().unwrap()) > Duration::from_millis(100)
        );
    }
}
