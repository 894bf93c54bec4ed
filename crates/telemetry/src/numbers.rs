//! The numbers of `OTEL_*` variables and their bounds.

use std::ops::RangeInclusive;

/// Milliseconds between exports: 0 would keep a thread busy.
pub(crate) const DELAY: RangeInclusive<u32> = 1..=i32::MAX.unsigned_abs();
/// Milliseconds of an export: 0 means no limit.
pub(crate) const TIMEOUT: RangeInclusive<u32> = 0..=i32::MAX.unsigned_abs();
/// Spans or log records: a queue of 0 holds none, and the SDK allocates all of it at once.
pub(crate) const SIZE: RangeInclusive<u32> = 1..=1_000_000;
pub(crate) const LIMIT: RangeInclusive<u32> = 0..=u32::MAX;

/// The number that `text` is, if it is within `bounds`.
pub(crate) fn number(bounds: &RangeInclusive<u32>, text: &str) -> Option<u32> {
    text.parse().ok().filter(|number| bounds.contains(number))
}
