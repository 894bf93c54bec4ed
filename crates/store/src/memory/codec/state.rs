use super::{bits::BitWriter, frame::FRAME};
use crate::Reading;

/// The state that the next frame is relative to. Writer and reader go through the same states.
#[derive(Debug, Default, Clone, Copy)]
pub(in crate::memory) struct State {
    pub(super) timestamp: i64,
    pub(super) distance: i64,
    pub(super) value: f64,
    pub(super) mode: u32,
}

impl State {
    /// The state from which these readings need the fewest bits.
    pub(in crate::memory) fn before(readings: &[Reading; FRAME]) -> Self {
        let [first, second, ..] = readings;
        let distance = second.timestamp.wrapping_sub(first.timestamp);
        let timestamp = first.timestamp.wrapping_sub(distance);
        Self { timestamp, distance, value: first.temperature, mode: 0 }
    }

    /// Returns the part of the state for temperatures, which is enough for a reader that skips timestamps.
    pub(in crate::memory) fn temperature(&self) -> (f64, u32) {
        (self.value, self.mode)
    }

    /// Returns a state without meaningful timestamps.
    pub(in crate::memory) fn of_temperature((value, mode): (f64, u32)) -> Self {
        Self { timestamp: 0, distance: 0, value, mode }
    }

    /// Begins a stream that can be read alone, because older streams may have been evicted by then.
    pub(in crate::memory) fn begin(&self, writer: &mut BitWriter<'_>) {
        writer.put(self.timestamp.cast_unsigned(), u64::BITS);
        writer.put(self.distance.cast_unsigned(), u64::BITS);
        writer.put(self.value.to_bits(), u64::BITS);
    }
}
