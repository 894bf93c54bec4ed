//! Estimates the memory that a connection holds for each stream, from its frames and from what its calls report.
//!
//! Invariant: `held` is the sum of the charges in `streams`. Every change of a charge changes `held` by the same amount, and
//! a charge is removed when nothing of it is left. The base of a call stays charged until the call has ended, whatever its
//! caller does; its response stays charged until it is sent or the stream is reset. Frames of closed streams are ignored.

use hashbrown::HashMap;

use super::frames::{CONTINUATION, DATA, FrameHeader, HEADERS, RST_STREAM};

/// The memory of an open call in bytes, without its request and response: its future, h2's stream, the handler's state.
pub(super) const CALL_OVERHEAD: usize = 4096;

/// The memory that h2 needs for a frame in addition to its payload, in bytes: a slab entry. With this value, 128 streams
/// whose windows are full of frames with one short reading each (2,849 frames per stream) fit into the default budget.
pub(super) const FRAME_OVERHEAD: usize = 272;

/// The maximum number of bytes of a padded frame that h2 does not pass on: the pad length and the padding (RFC 9113, 6.1).
const MAX_PADDING: usize = 256;

/// The number of bytes that the handler and its response writer hold for each byte of a reply chunk, in addition to the
/// chunk, until the handler waits. Measured with 2,048 calls of `GetSensorReadings` whose windows close: 98 KiB per call
/// with chunks of 16 KiB.
pub(super) const HANDLER_FACTOR: usize = 5;

/// The memory that a connection holds, by stream.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    streams: HashMap<u32, Charge>,
    last_stream: u32,
    held: usize,
}

/// The memory held for one stream.
#[derive(Debug, Default)]
struct Charge {
    /// Headers, the overhead of an open call, and the bytes that the handler keeps until the call ends.
    base: usize,
    /// Unread request bytes, including the overhead per frame.
    unread: usize,
    /// The number of unread frames with padding.
    padded: u32,
    /// Request bytes that the handler keeps until it reads more: an incomplete message and its largest batch.
    kept: usize,
    /// Response bytes that are queued and not sent yet.
    unsent: usize,
    /// Memory of a handler that is writing the response ([`HANDLER_FACTOR`]).
    working: usize,
    accepted: bool,
    reads_body: bool,
    ended: bool,
}

impl Charge {
    fn take_request(&mut self) -> usize {
        std::mem::take(&mut self.unread) + std::mem::take(&mut self.kept)
    }
}

/// Frames.
impl Ledger {
    pub(super) fn received(&mut self, frame: FrameHeader) {
        let length = frame.length + FRAME_OVERHEAD;
        match frame.kind {
            HEADERS | CONTINUATION => {
                if frame.stream > self.last_stream {
                    self.last_stream = frame.stream;
                    self.streams.insert(frame.stream, Charge::default());
                }
                if let Some(charge) = self.streams.get_mut(&frame.stream) {
                    charge.base += length;
                    self.held += length;
                }
            }
            DATA => {
                if let Some(charge) = self.streams.get_mut(&frame.stream)
                    && (charge.reads_body || !charge.accepted)
                {
                    charge.unread += length;
                    charge.padded += u32::from(frame.is_padded());
                    self.held += length;
                }
            }
            RST_STREAM => self.reset(frame.stream),
            _ => {}
        }
    }

    pub(super) fn sent(&mut self, frame: FrameHeader) {
        if frame.kind == DATA
            && let Some(charge) = self.streams.get_mut(&frame.stream)
        {
            let sent = frame.length.min(charge.unsent);
            charge.unsent -= sent;
            self.held -= sent;
        }
        if frame.kind == RST_STREAM || frame.ends_stream() {
            self.reset(frame.stream);
        }
    }

    /// Records that nothing more is sent on a stream. Its request stays charged until its call has ended.
    fn reset(&mut self, stream: u32) {
        if let Some(charge) = self.streams.get_mut(&stream) {
            self.held -= std::mem::take(&mut charge.unsent);
            if charge.ended || !charge.accepted {
                self.held -= charge.base + charge.take_request();
                self.streams.remove(&stream);
            }
        }
    }
}

/// Calls.
impl Ledger {
    pub(super) fn call_accepted(&mut self, stream: u32, headers: usize) {
        let charge = self.streams.entry(stream).or_default();
        (charge.accepted, charge.reads_body) = (true, true);
        let more = headers + CALL_OVERHEAD;
        charge.base += more;
        self.held += more;
    }

    pub(super) fn body_read(&mut self, stream: u32, length: usize, kept: usize) {
        if let Some(charge) = self.streams.get_mut(&stream) {
            let padding = if charge.padded > 0 { MAX_PADDING } else { 0 };
            charge.padded = charge.padded.saturating_sub(1);
            let read = (length + FRAME_OVERHEAD + padding).min(charge.unread);
            charge.unread -= read;
            self.held = self.held - read - charge.kept + kept;
            charge.kept = kept;
        }
    }

    pub(super) fn body_dropped(&mut self, stream: u32) {
        if let Some(charge) = self.streams.get_mut(&stream) {
            self.held -= charge.take_request();
            charge.reads_body = false;
        }
    }

    pub(super) fn reply_queued(&mut self, stream: u32, length: usize) {
        if let Some(charge) = self.streams.get_mut(&stream) {
            let more = (length * HANDLER_FACTOR).saturating_sub(charge.working);
            charge.unsent += length;
            charge.working += more;
            self.held += length + more;
        }
    }

    pub(super) fn handler_holds(&mut self, stream: u32, bytes: usize) {
        if let Some(charge) = self.streams.get_mut(&stream) {
            charge.base += bytes;
            self.held += bytes;
        }
    }

    pub(super) fn handler_waits(&mut self, stream: u32) {
        if let Some(charge) = self.streams.get_mut(&stream) {
            self.held -= std::mem::take(&mut charge.working);
        }
    }

    pub(super) fn call_ended(&mut self, stream: u32, handed_over: bool) {
        if let Some(charge) = self.streams.get_mut(&stream) {
            self.held -= std::mem::take(&mut charge.base) + std::mem::take(&mut charge.working);
            self.held -= charge.take_request();
            (charge.ended, charge.reads_body) = (true, false);
            if !handed_over {
                self.held -= std::mem::take(&mut charge.unsent);
            }
            if charge.unsent == 0 {
                self.streams.remove(&stream);
            }
        }
    }

    pub(super) fn held(&self) -> usize {
        self.held
    }

    pub(super) fn has_streams(&self) -> bool {
        !self.streams.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connections::frames::{END_STREAM, PADDED};

    fn frame(kind: u8, stream: u32, length: usize) -> FrameHeader {
        FrameHeader { length, kind, flags: 0, stream }
    }

    fn end(kind: u8, stream: u32, length: usize) -> FrameHeader {
        FrameHeader { flags: END_STREAM, ..frame(kind, stream, length) }
    }

    impl Ledger {
        fn receive(&mut self, frames: &[FrameHeader]) {
            for frame in frames {
                self.received(*frame);
            }
        }

        fn send(&mut self, frames: &[FrameHeader]) {
            for frame in frames {
                self.sent(*frame);
            }
        }

        fn is_empty(&self) -> bool {
            self.held == 0 && self.streams.is_empty()
        }
    }

    #[test]
    fn completed_call_leaves_no_charge() {
        let mut ledger = Ledger::default();
        ledger.receive(&[frame(HEADERS, 1, 100), frame(DATA, 1, 50), end(DATA, 1, 20)]);
        ledger.call_accepted(1, 300);
        let call = 100 + 300 + FRAME_OVERHEAD + CALL_OVERHEAD;
        assert_eq!(ledger.held(), call + 70 + 2 * FRAME_OVERHEAD);
        ledger.body_read(1, 50, 10);
        assert_eq!(ledger.held(), call + 10 + 20 + FRAME_OVERHEAD);
        ledger.body_read(1, 20, 0);
        ledger.body_dropped(1);
        ledger.reply_queued(1, 1000);
        assert_eq!(ledger.held(), call + 1000 + 1000 * HANDLER_FACTOR);
        ledger.handler_waits(1);
        assert_eq!(ledger.held(), call + 1000);
        ledger.reply_queued(1, 200);
        ledger.reply_queued(1, 300);
        assert_eq!(ledger.held(), call + 1500 + 300 * HANDLER_FACTOR);
        ledger.call_ended(1, true);
        assert_eq!(ledger.held(), 1500);
        ledger.send(&[frame(HEADERS, 1, 30), frame(DATA, 1, 1100)]);
        assert_eq!(ledger.held(), 400);
        ledger.send(&[frame(DATA, 1, 400), end(HEADERS, 1, 10)]);
        assert!(ledger.is_empty(), "{ledger:?}");
    }

    #[test]
    fn padding_is_released_with_its_frame() {
        let mut ledger = Ledger::default();
        ledger.receive(&[frame(HEADERS, 1, 100)]);
        ledger.call_accepted(1, 10);
        let before = ledger.held();
        for _ in 0..1000 {
            ledger.receive(&[FrameHeader { flags: PADDED, ..frame(DATA, 1, 30 + MAX_PADDING) }]);
            ledger.body_read(1, 30, 0);
            ledger.receive(&[frame(DATA, 1, 30)]);
            ledger.body_read(1, 30, 0);
        }
        assert_eq!(ledger.held(), before);
    }

    #[test]
    fn handler_memory_is_held_until_call_ends() {
        let mut ledger = Ledger::default();
        ledger.receive(&[end(HEADERS, 1, 100)]);
        ledger.call_accepted(1, 10);
        let before = ledger.held();
        ledger.handler_holds(1, 500_000);
        ledger.reply_queued(1, 1000);
        ledger.handler_waits(1);
        ledger.send(&[frame(DATA, 1, 1000)]);
        // The caller cancels the call, which frees nothing while the handler exists.
        ledger.receive(&[frame(RST_STREAM, 1, 4)]);
        assert_eq!(ledger.held(), before + 500_000);
        ledger.call_ended(1, false);
        assert!(ledger.is_empty(), "{ledger:?}");
        ledger.handler_holds(1, 500_000);
        assert!(ledger.is_empty(), "{ledger:?}");
    }

    #[test]
    fn reset_streams_leave_no_charge() {
        let mut ledger = Ledger::default();
        let open = |ledger: &mut Ledger, stream| {
            ledger.receive(&[frame(HEADERS, stream, 100), frame(DATA, stream, 50)]);
        };
        // h2 refuses the stream.
        open(&mut ledger, 1);
        ledger.send(&[frame(RST_STREAM, 1, 4)]);
        // The caller cancels the call before it is accepted, and h2 may still pass it on.
        open(&mut ledger, 3);
        ledger.receive(&[frame(RST_STREAM, 3, 4)]);
        ledger.call_accepted(3, 10);
        ledger.call_ended(3, false);
        // The caller cancels the call while the reply is being sent.
        open(&mut ledger, 5);
        ledger.call_accepted(5, 10);
        ledger.reply_queued(5, 100);
        ledger.receive(&[frame(RST_STREAM, 5, 4)]);
        ledger.reply_queued(5, 100);
        ledger.call_ended(5, false);
        // Frames of closed streams.
        ledger.receive(&[frame(DATA, 5, 100), frame(HEADERS, 3, 100)]);
        assert!(ledger.is_empty(), "{ledger:?}");
    }

    #[test]
    fn dropped_body_is_not_charged() {
        let mut ledger = Ledger::default();
        ledger.receive(&[frame(HEADERS, 1, 100)]);
        ledger.call_accepted(1, 10);
        ledger.body_dropped(1);
        let before = ledger.held();
        ledger.receive(&[frame(DATA, 1, 16_000)]);
        assert_eq!(ledger.held(), before);
    }
}
