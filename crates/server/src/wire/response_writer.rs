use std::{future::poll_fn, sync::Arc, task::Poll};

use bytes::Bytes;
use kelvin_proto::frame::{PAYLOAD, PREFIX};
use kelvin_store::Reading;
use parking_lot::Mutex;
use prost::Message;

use super::template::{Template, put_length};

/// A frame on its way from a handler to its response body.
pub(super) type FrameSlot = Arc<Mutex<Option<Bytes>>>;

/// Takes the response messages of a handler. One frame waits to be sent and one is being filled: a slow reader suspends the
/// handler.
#[derive(Debug)]
pub(crate) struct ResponseWriter {
    slot: FrameSlot,
    buffer: Vec<u8>,
    last_length: usize,
}

impl ResponseWriter {
    pub(super) fn new(slot: FrameSlot) -> Self {
        Self { slot, buffer: Vec::new(), last_length: 0 }
    }

    /// Room for a message of at most `length` bytes, as soon as there is some; more may fit.
    pub(crate) async fn reserve(&mut self, length: usize) -> MessageWriter<'_> {
        if self.buffer.len() + PREFIX + length > PAYLOAD {
            self.flush().await;
        }
        if self.buffer.capacity() == 0 {
            self.buffer.reserve_exact(self.last_length.max(PREFIX + length));
        }
        MessageWriter { buffer: &mut self.buffer }
    }

    /// Hands over the bytes written so far; waits until the previous frame was taken.
    pub(crate) async fn flush(&mut self) {
        // Needs no waker: the body polls the handler again after it has taken a frame.
        poll_fn(|_| if self.try_flush() { Poll::Ready(()) } else { Poll::Pending }).await;
    }

    /// Hands over the bytes written so far unless a frame is waiting. Must be called before a handler waits for something
    /// else.
    pub(crate) fn try_flush(&mut self) -> bool {
        if self.buffer.is_empty() {
            return true;
        }
        let mut slot = self.slot.lock();
        if slot.is_some() {
            return false;
        }
        self.last_length = self.buffer.len();
        // The room of the frame before is often too much for the last one, which may wait for long.
        if self.buffer.capacity() > 2 * self.last_length {
            self.buffer.shrink_to_fit();
        }
        *slot = Some(std::mem::take(&mut self.buffer).into());
        true
    }
}

/// Writes messages with their prefixes.
#[derive(Debug)]
pub(crate) struct MessageWriter<'a> {
    buffer: &'a mut Vec<u8>,
}

impl MessageWriter<'_> {
    pub(crate) fn put(&mut self, message: &impl Message) {
        put(self.buffer, message);
    }

    /// Writes as many readings as fit into the frame and returns the others.
    pub(crate) fn put_readings<'r>(
        &mut self,
        sensor: &mut Template,
        readings: &'r [Reading],
    ) -> &'r [Reading] {
        let fitting = self.fitting(sensor).min(readings.len());
        let (now, later) = readings.split_at(fitting);
        sensor.put_readings(now, self.buffer);
        later
    }

    /// Writes as many acknowledgements as fit into the frame, the first with `accepted` + 1, and returns how many.
    pub(crate) fn put_acks(&mut self, ack: &mut Template, accepted: u64, count: usize) -> usize {
        let count = self.fitting(ack).min(count);
        for accepted in (accepted + 1..).take(count) {
            ack.put_accepted(accepted, self.buffer);
        }
        count
    }

    /// Returns the number of messages that certainly fit: at least the one that was reserved.
    fn fitting(&self, template: &Template) -> usize {
        (PAYLOAD.saturating_sub(self.buffer.len()) / template.max_length()).max(1)
    }
}

/// Appends `message` with its prefix.
pub(super) fn put(buffer: &mut Vec<u8>, message: &impl Message) {
    let start = buffer.len();
    buffer.extend_from_slice(&[0; PREFIX]);
    message.encode(buffer).expect("a Vec grows");
    put_length(&mut buffer[start..]);
}
