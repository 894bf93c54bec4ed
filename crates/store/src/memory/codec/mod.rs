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
mod frame;
mod integers;
mod state;
#[cfg(test)]
mod tests;
mod timestamps;
mod values;

pub(super) use self::{
    bits::{BitReader, BitWriter},
    frame::FRAME,
    state::State,
};
use crate::Reading;

impl State {
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

    /// Continues where an encoder had the state `state` after `bits` bits; with 0 bits, starts at the beginning.
    pub(super) fn resume(words: &'a [u64], bits: u32, state: State) -> Self {
        if bits == 0 { Self::new(words) } else { Self { reader: BitReader::after(words, bits), state } }
    }

    #[inline]
    pub(super) fn next_frame(&mut self, out: &mut [Reading; FRAME]) {
        timestamps::take(&mut self.reader, &mut self.state, out);
        values::take(&mut self.reader, &mut self.state, out);
    }
}
