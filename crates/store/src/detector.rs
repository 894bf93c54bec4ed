//! Which readings begin or end an alert.
//!
//! A reading is compared with the limits, and with what is normal for its sensor: the median of the sensor's newest
//! [`HISTORY`] readings, give or take the configured robust z-score times their median absolute deviation (MAD).
//!
//! Searching the history for its median for each reading would cost far more than storing it (O(n) against O(1)), so the
//! interval of normal values is cached and refreshed once every [`REFRESH_INTERVAL`] readings: amortised, a few
//! comparisons of two numbers and a sixty-fourth of a search per reading. A reading outside the cached interval refreshes
//! it first, at most every [`RECHECK_INTERVAL`] readings, since the history of a sensor that drifts away would otherwise
//! be searched for each reading.
//! What that costs in accuracy: an alert may miss a reading that a fresh interval would just exclude, and never reports
//! one that a fresh interval would include by more than the drift of [`RECHECK_INTERVAL`] readings.
//!
//! Only changes are reported. An alert at a limit ends [`HYSTERESIS`] inside the limit, an outlier alert at half the
//! z-score, so a sensor at the edge does not begin and end an alert with every reading. After a lasting step the history
//! fills with the new level and the alert ends by itself.
//!
//! [`Detector`] holds both the statistics and the alert state, because every evaluation reads both, and two structs would
//! take 32 instead of 24 bytes per sensor (padding).

#[cfg(test)]
mod tests;

use crate::{Alert, AlertKind, AlertSettings};

/// Readings that determine what is normal.
pub(crate) const HISTORY: usize = 64;
/// Readings before the first outlier can be found.
const MIN_HISTORY: u16 = 16;
/// Readings between two refreshes.
const REFRESH_INTERVAL: u16 = 64;
/// Readings between two refreshes while readings fall outside.
const RECHECK_INTERVAL: u16 = 8;
/// Degrees Celsius by which a limit must be left behind for its alert to end.
const HYSTERESIS: f64 = 0.5;
/// The MAD of normally distributed values in standard deviations: the 0.75 quantile of the standard normal
/// distribution. Iglewicz and Hoaglin, "How to Detect and Handle Outliers" (ASQC, 1993), who propose 0.6745 for the
/// modified z-score, and to call out what exceeds 3.5.
const MAD_PER_SIGMA: f64 = 0.6745;
/// Degrees Celsius. A history with a smaller MAD counts as having this one: common sensors resolve 1/16 °C (DS18B20), and
/// a MAD of zero would make the smallest step infinitely far.
const MIN_MAD: f64 = 0.0625;

/// [`AlertSettings`] with infinite limits where there are none.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    low: f64,
    high: f64,
    z_score: f64,
}

impl From<&AlertSettings> for Rules {
    fn from(settings: &AlertSettings) -> Self {
        Self {
            low: settings.low.unwrap_or(f64::NEG_INFINITY),
            high: settings.high.unwrap_or(f64::INFINITY),
            z_score: settings.z_score.unwrap_or(f64::INFINITY),
        }
    }
}

impl Rules {
    /// Returns whether nothing can raise an alert.
    pub(crate) fn are_silent(&self) -> bool {
        self.low == f64::NEG_INFINITY && self.high == f64::INFINITY && !self.need_history()
    }

    /// Returns whether readings are compared with those before them.
    pub(crate) fn need_history(&self) -> bool {
        self.z_score.is_finite()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum State {
    Normal,
    Low,
    High,
    Outlier,
}

/// The history that one sensor's readings are compared with.
#[derive(Debug, Clone)]
pub(crate) struct Detector {
    median: f64,
    /// Readings this far from the median and farther stand out.
    threshold: f64,
    /// Alerts begun so far.
    alerts: u32,
    /// Readings until the next refresh.
    until_refresh: u16,
    state: State,
}

impl Default for Detector {
    fn default() -> Self {
        Self {
            median: 0.0,
            threshold: f64::INFINITY,
            alerts: 0,
            until_refresh: MIN_HISTORY,
            state: State::Normal,
        }
    }
}

impl Detector {
    /// Returns whether readings between `min` and `max` cannot begin or end an alert.
    pub(crate) fn all_within(&self, rules: &Rules, min: f64, max: f64) -> bool {
        self.state == State::Normal
            && min > rules.low
            && min > self.median - self.threshold
            && max < rules.high
            && max < self.median + self.threshold
    }

    /// Returns how many readings may be compared before [`observe`](Self::observe) must be called.
    pub(crate) fn until_refresh(&self) -> usize {
        self.until_refresh.into()
    }

    /// Notes that a reading has joined the history, unless a refresh is due after it.
    pub(crate) fn count_one(&mut self) -> bool {
        let counts = self.until_refresh > 1;
        self.until_refresh -= u16::from(counts);
        counts
    }

    /// Notes that `count` readings (at most [`until_refresh`](Self::until_refresh)) have joined the history, newest
    /// first. Returns whether a refresh was due.
    pub(crate) fn observe(
        &mut self,
        rules: &Rules,
        count: usize,
        history: impl Iterator<Item = f64>,
    ) -> bool {
        self.until_refresh = self.until_refresh.saturating_sub(u16::try_from(count).unwrap_or(u16::MAX));
        let due = self.until_refresh == 0;
        if due && rules.need_history() {
            self.refresh(rules, history);
        } else if due {
            self.until_refresh = REFRESH_INTERVAL;
        }
        due
    }

    /// Refreshes from a history that was read from the store, newest first.
    pub(crate) fn refresh_from(&mut self, rules: &Rules, history: impl Iterator<Item = f64>) {
        self.refresh(rules, history);
    }

    /// Returns the alert state as a store keeps it.
    pub(crate) fn state(&self) -> u8 {
        self.state as u8
    }

    /// Continues from a state that was stored.
    pub(crate) fn resume(&mut self, state: u8) {
        let states = [State::Normal, State::Low, State::High, State::Outlier];
        self.state = *states.get(usize::from(state)).unwrap_or(&State::Normal);
    }

    /// Evaluates the next reading; `history` is the readings before it, newest first.
    pub(crate) fn evaluate(
        &mut self,
        rules: &Rules,
        temperature: f64,
        history: impl Iterator<Item = f64>,
    ) -> Option<Alert> {
        let next = if temperature <= rules.low {
            State::Low
        } else if temperature >= rules.high {
            State::High
        } else {
            self.inside_limits(rules, temperature, history)
        };
        if next == self.state {
            return None;
        }
        let began = next != State::Normal;
        let kind = match if began { next } else { self.state } {
            State::Low => AlertKind::Low(rules.low),
            State::High => AlertKind::High(rules.high),
            State::Outlier | State::Normal => AlertKind::Outlier {
                z_score: rules.z_score * (temperature - self.median).abs() / self.threshold,
                median: self.median,
                mad: self.threshold * MAD_PER_SIGMA / rules.z_score,
            },
        };
        self.state = next;
        self.alerts = self.alerts.saturating_add(began.into());
        Some(Alert { began, kind, temperature })
    }

    /// Alerts begun so far.
    pub(crate) fn alerts(&self) -> u64 {
        self.alerts.into()
    }

    /// Returns whether the sensor is in alert: an alert has begun, and no later reading has ended it yet.
    pub(crate) fn alerting(&self) -> bool {
        self.state != State::Normal
    }

    fn inside_limits(
        &mut self,
        rules: &Rules,
        temperature: f64,
        history: impl Iterator<Item = f64>,
    ) -> State {
        match self.state {
            State::Low if temperature <= rules.low + HYSTERESIS => State::Low,
            State::High if temperature >= rules.high - HYSTERESIS => State::High,
            State::Outlier if self.distance(temperature) >= self.threshold / 2.0 => State::Outlier,
            State::Low | State::High | State::Outlier => State::Normal,
            State::Normal => {
                if self.distance(temperature) >= self.threshold
                    && self.until_refresh <= REFRESH_INTERVAL - RECHECK_INTERVAL
                {
                    self.refresh(rules, history);
                }
                if self.distance(temperature) >= self.threshold { State::Outlier } else { State::Normal }
            }
        }
    }

    fn distance(&self, temperature: f64) -> f64 {
        (temperature - self.median).abs()
    }

    fn refresh(&mut self, rules: &Rules, history: impl Iterator<Item = f64>) {
        let mut keys = [0; HISTORY];
        let mut count = 0;
        for (key, temperature) in keys.iter_mut().zip(history) {
            *key = key_of(temperature);
            count += 1;
        }
        self.until_refresh = REFRESH_INTERVAL;
        if count < usize::from(MIN_HISTORY) {
            self.until_refresh = MIN_HISTORY;
        } else if rules.need_history() {
            let keys = &mut keys[..count];
            self.median = median(keys);
            for key in &mut *keys {
                *key = key_of((number_of(*key) - self.median).abs());
            }
            self.threshold = rules.z_score * median(keys).max(MIN_MAD) / MAD_PER_SIGMA;
        }
    }
}

/// The median of the numbers that have these keys. Selecting it takes half of what sorting takes.
fn median(keys: &mut [i64]) -> f64 {
    let is_even = keys.len().is_multiple_of(2);
    let half = keys.len() / 2;
    let (below, &mut upper, _) = keys.select_nth_unstable(half);
    match below.iter().max() {
        Some(&lower) if is_even => f64::midpoint(number_of(lower), number_of(upper)),
        _ => number_of(upper),
    }
}

/// An integer for a number, ordered as [`f64::total_cmp`] orders numbers. Comparing integers takes half the instructions.
fn key_of(number: f64) -> i64 {
    flip(number.to_bits().cast_signed())
}

fn number_of(key: i64) -> f64 {
    f64::from_bits(flip(key).cast_unsigned())
}

/// Reverses the order of negative numbers, whose bits are ordered by their distance from zero; its own inverse.
fn flip(bits: i64) -> i64 {
    bits ^ ((bits >> 63).cast_unsigned() >> 1).cast_signed()
}
