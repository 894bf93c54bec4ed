use std::time::Duration;

use crate::{
    Reading, Stats,
    summary::{Summary, between, mean},
};

/// Bytes of a stored reading.
pub(super) const READING: usize = 16;

/// Statistics of a sensor as the append script packs them.
#[derive(Debug, Clone)]
pub(super) struct Record {
    alerting: bool,
    alerts: u32,
    /// Milliseconds since the epoch by Valkey's clock; tells a sensor from an expired one of the same name.
    pub(super) created: f64,
    pub(super) count: u64,
    pub(super) held: u64,
    summary: Summary,
    /// Milliseconds since the epoch by Valkey's clock.
    seen: f64,
    last: Reading,
}

impl Record {
    /// Reads the fields this release knows; more may follow. `None` if there are fewer.
    pub(super) fn read(mut bytes: &[u8]) -> Option<Self> {
        let [_layout, state] = take(&mut bytes)?;
        let alerts = u32::from_le_bytes(take(&mut bytes)?);
        let mut numbers = [0.0; 9];
        for number in &mut numbers {
            *number = f64::from_le_bytes(take(&mut bytes)?);
        }
        let [created, count, held, mean, m2, min, max, seen, _indexed] = numbers;
        let last = unpack(bytes.get(..READING)?).next()?;
        let (count, held) = (whole(count), whole(held));
        // The script rounds when it merges means.
        let summary = Summary { count, mean: between(mean, min, max), m2, min, max };
        Some(Self { alerting: state != 0, alerts, created, count, held, summary, seen, last })
    }

    /// The sequence number of the oldest reading that is held.
    pub(super) fn first(&self) -> u64 {
        self.count - self.held + 1
    }

    pub(super) fn is_idle(&self, now: f64, idle: f64) -> bool {
        now - self.seen >= idle
    }

    /// With the newest readings for the recent mean; `now` as in [`Record::is_idle`].
    pub(super) fn stats(&self, tail: &[u8], recent_window: usize, now: f64) -> Stats {
        let skip = (tail.len() / READING).saturating_sub(usize::try_from(self.held).unwrap_or(usize::MAX));
        let recent: Vec<f64> =
            unpack(tail).skip(skip).map(|reading| reading.temperature).take(recent_window).collect();
        Stats {
            count: self.count,
            mean: self.summary.mean,
            min: self.summary.min,
            max: self.summary.max,
            standard_deviation: self.summary.standard_deviation(),
            last: self.last,
            idle: Duration::from_secs_f64((now - self.seen).max(0.0) / 1e3),
            recent_mean: mean(&recent),
            recent_count: u32::try_from(recent.len()).unwrap_or(u32::MAX),
            held: self.held,
            alerts: self.alerts.into(),
            alerting: self.alerting,
        }
    }
}

pub(super) fn pack(reading: &Reading, out: &mut Vec<u8>) {
    out.extend(reading.temperature.to_le_bytes());
    out.extend(reading.timestamp.to_le_bytes());
}

pub(super) fn unpack(bytes: &[u8]) -> impl DoubleEndedIterator<Item = Reading> + ExactSizeIterator {
    bytes.as_chunks::<READING>().0.iter().map(|chunk| {
        let (temperature, timestamp) = chunk.split_at(8);
        Reading {
            temperature: f64::from_le_bytes(temperature.try_into().expect("8 of 16 bytes")),
            timestamp: i64::from_le_bytes(timestamp.try_into().expect("8 of 16 bytes")),
        }
    })
}

/// Takes the first bytes off.
pub(super) fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (first, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*first)
}

/// Scripts count in doubles, which are exact up to 2^53.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counts are whole and not negative"
)]
pub(super) fn whole(number: f64) -> u64 {
    number as u64
}
