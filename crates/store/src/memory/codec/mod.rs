//! Readings in few bits, exact to the bit: an encoder that appends frames to a growing bit stream.
//!
//! ```text
//! stream  first state (timestamp, distance, value: 64 bits each), then frames of 16 readings
//! frame   timestamps   0                            the interval stays the same
//!                      1, parameter (6), codes      Rice codes of how it changes
//!         mode         0                            as in the frame before
//!                      1, mode (4)                  0 to 7 a scale, 8 XOR
//!         values       0                            all as the one before (scales)
//!                      1, parameter (6), codes      Rice codes of the distances (scales)
//!                      zeros (6), width (7), XORs   (XOR)
//! ```
//!
//! Parameters are chosen for a frame from the frame itself, which needs no adapting state, keeps the loops tight, and
//! costs a steady sensor three bits a frame. The format lives in memory only and may change with any release.

mod bits;
mod integers;
#[cfg(test)]
mod tests;
mod timestamps;
mod values;

pub(super) use self::bits::{BitReader, BitWriter};
use crate::Reading;

/// Readings that are encoded at a time.
pub(super) const FRAME: usize = 16;

/// The state that the next frame is relative to. Writer and reader go through the same states.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct State {
    timestamp: i64,
    distance: i64,
    value: f64,
    mode: u32,
}

impl State {
    /// The state from which these readings need the fewest bits.
    pub(super) fn before(readings: &[Reading; FRAME]) -> Self {
        let [first, second, ..] = readings;
        let distance = second.timestamp.wrapping_sub(first.timestamp);
        let timestamp = first.timestamp.wrapping_sub(distance);
        Self { timestamp, distance, value: first.temperature, mode: 0 }
    }

    /// Returns the part of the state for temperatures, which is enough for a reader that skips timestamps.
    pub(super) fn temperature(&self) -> (f64, u32) {
        (self.value, self.mode)
    }

    /// A state whose timestamps mean nothing.
    pub(super) fn of_temperature((value, mode): (f64, u32)) -> Self {
        Self { timestamp: 0, distance: 0, value, mode }
    }

    /// Begins a stream, from which a reader needs nothing else: older streams may be gone by then.
    pub(super) fn begin(&self, writer: &mut BitWriter<'_>) {
        writer.put(self.timestamp.cast_unsigned(), u64::BITS);
        writer.put(self.distance.cast_unsigned(), u64::BITS);
        writer.put(self.value.to_bits(), u64::BITS);
    }

    pub(super) fn put(&mut self, writer: &mut BitWriter<'_>, readings: &[Reading; FRAME]) {
        timestamps::put(writer, self, readings);
        values::put(writer, self, readings);
    }
}

/// Reads a stream frame by frame. The caller knows how many there are.
#[derive(Debug)]
pub(super) struct Decoder<'a> {
    reader: BitReader<'a>,
    state: State,
}

impl<'a> Decoder<'a> {
    pub(super) fn new(words: &'a [u64]) -> Self {
        let mut reader = BitReader::new(words);
        let mut word = || reader.take(u64::BITS);
        let (timestamp, distance) = (word().cast_signed(), word().cast_signed());
        let state = State { timestamp, distance, value: f64::from_bits(word()), mode: 0 };
        Self { reader, state }
    }

    /// Goes on where an encoder had this state after so many bits. Of a stream without any it begins at the beginning.
    pub(super) fn resume(words: &'a [u64], bits: u32, state: State) -> Self {
        if bits == 0 { Self::new(words) } else { Self { reader: BitReader::after(words, bits), state } }
    }

    #[inline]
    pub(super) fn next_frame(&mut self, out: &mut [Reading; FRAME]) {
        timestamps::take(&mut self.reader, &mut self.state, out);
        values::take(&mut self.reader, &mut self.state, out);
    }
}
