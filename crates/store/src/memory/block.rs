use super::codec::{BitWriter, Decoder, FRAME, State};
use crate::{Reading, summary::Summary};

/// Readings of a full block. Larger ones spread their head over more readings, smaller ones are quicker to read from
/// the middle and free memory in smaller steps.
pub(super) const BLOCK: usize = 24 * FRAME;

/// Compressed readings with what is known of them without decompressing.
#[derive(Debug, Default)]
pub(super) struct Block {
    words: Vec<u64>,
    bits: u32,
    summary: Summary,
    earliest: i64,
    latest: i64,
}

impl Block {
    /// Appends a frame. `encoder` is where the frame before ended.
    pub(super) fn push(&mut self, encoder: &mut State, frame: &[Reading; FRAME]) {
        let mut writer = BitWriter::new(&mut self.words, self.bits);
        if self.summary.count == 0 {
            *encoder = State::before(frame);
            encoder.begin(&mut writer);
            (self.earliest, self.latest) = (i64::MAX, i64::MIN);
        }
        encoder.put(&mut writer, frame);
        self.bits = writer.finish();
        self.summary.merge(&Summary::of(frame));
        for reading in frame {
            self.earliest = self.earliest.min(reading.timestamp);
            self.latest = self.latest.max(reading.timestamp);
        }
    }

    /// Gives up what a full block reserved for more.
    pub(super) fn seal(&mut self) {
        self.words.shrink_to_fit();
    }

    pub(super) fn len(&self) -> usize {
        usize::try_from(self.summary.count).unwrap_or(usize::MAX)
    }

    /// Bytes allocated outside of the block itself.
    pub(super) fn bytes(&self) -> usize {
        self.words.capacity() * size_of::<u64>()
    }

    pub(super) fn summary(&self) -> &Summary {
        &self.summary
    }

    /// Bits of the stream so far.
    pub(super) fn bits(&self) -> u32 {
        self.bits
    }

    /// Decompresses the temperatures of the next `frames` from where an encoder stood.
    pub(super) fn temperatures(&self, bits: u32, state: State, frames: usize, out: &mut Vec<f64>) {
        let mut decoder = Decoder::resume(&self.words, bits, state);
        let mut frame = [Reading { temperature: 0.0, timestamp: 0 }; FRAME];
        for _ in 0..frames {
            decoder.next_frame(&mut frame);
            out.extend(frame.iter().map(|reading| reading.temperature));
        }
    }

    /// The earliest and the latest timestamp in it.
    pub(super) fn span(&self) -> (i64, i64) {
        (self.earliest, self.latest)
    }

    /// Decompresses all readings but the first `skip`.
    pub(super) fn read(&self, mut skip: usize, mut each: impl FnMut(&[Reading])) {
        let mut decoder = Decoder::new(&self.words);
        let mut frame = [Reading { temperature: 0.0, timestamp: 0 }; FRAME];
        for _ in 0..self.len() / FRAME {
            decoder.next_frame(&mut frame);
            if skip < FRAME {
                each(&frame[skip..]);
            }
            skip = skip.saturating_sub(FRAME);
        }
    }
}
