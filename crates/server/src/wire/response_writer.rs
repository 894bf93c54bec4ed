use std::{
    future::poll_fn,
    sync::{Arc, Mutex, PoisonError},
    task::Poll,
};

use bytes::Bytes;
use kelvin_proto::Severity;
use kelvin_store::Reading;
use prost::{Message, encoding::encode_varint};

use super::PREFIX;

/// With the 9 bytes of its HTTP/2 header a frame fills one TLS record of 16 KiB.
const FRAME: usize = 16 * 1024 - 9;

/// A frame on its way from a handler to its response body.
pub(super) type FrameSlot = Arc<Mutex<Option<Bytes>>>;

/// What a handler writes its response messages to. One frame waits to be sent and one is being filled: a slow
/// reader holds up the handler.
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

    /// Room for a message of at most `length` bytes, as soon as there is some.
    pub(crate) async fn reserve(&mut self, length: usize) -> MessageWriter<'_> {
        if self.buffer.len() + PREFIX + length > FRAME {
            self.flush().await;
        }
        if self.buffer.capacity() == 0 {
            self.buffer.reserve_exact(self.last_length.max(PREFIX + length));
        }
        MessageWriter { buffer: &mut self.buffer }
    }

    /// Hands on what is written; waits for the frame before it to go.
    pub(crate) async fn flush(&mut self) {
        // The body polls the handler again after it has taken a frame, so there is nobody to be woken by.
        poll_fn(|_| if self.try_flush() { Poll::Ready(()) } else { Poll::Pending }).await;
    }

    /// Hands on what is written unless a frame is waiting; to be called before a handler waits for something else.
    pub(crate) fn try_flush(&mut self) -> bool {
        if self.buffer.is_empty() {
            return true;
        }
        let mut slot = self.slot.lock().unwrap_or_else(PoisonError::into_inner);
        if slot.is_some() {
            return false;
        }
        self.last_length = self.buffer.len();
        *slot = Some(std::mem::take(&mut self.buffer).into());
        true
    }
}

/// Writes one message with its prefix.
#[derive(Debug)]
pub(crate) struct MessageWriter<'a> {
    buffer: &'a mut Vec<u8>,
}

impl MessageWriter<'_> {
    pub(crate) fn put(self, message: &impl Message) {
        put(self.buffer, message);
    }

    pub(crate) fn put_reading(self, of: &ReadingPrefix, reading: Reading) {
        let start = self.buffer.len();
        self.buffer.extend_from_slice(&of.start);
        self.buffer.extend_from_slice(&reading.temperature.to_le_bytes());
        self.buffer.push(3 << 3);
        encode_varint(reading.timestamp.cast_unsigned(), self.buffer);
        put_length(&mut self.buffer[start..]);
    }

    /// The answer to a reading that is stored and calls for no alert.
    pub(crate) fn put_stored_ack(self, server_time: i64, accepted: u64) {
        const TEXT: &[u8] = b"\x0a\x06stored\x10";
        const SEVERITY: &[u8] = &[3 << 3, Severity::Status as u8, 4 << 3];
        let start = self.buffer.len();
        self.buffer.extend_from_slice(&[0; PREFIX]);
        self.buffer.extend_from_slice(TEXT);
        encode_varint(server_time.cast_unsigned(), self.buffer);
        self.buffer.extend_from_slice(SEVERITY);
        encode_varint(accepted, self.buffer);
        put_length(&mut self.buffer[start..]);
    }
}

/// What all readings of one sensor begin with when they are written.
#[derive(Debug)]
pub(crate) struct ReadingPrefix {
    /// Prefix, sensor id and the temperature's tag.
    start: Vec<u8>,
}

impl ReadingPrefix {
    pub(crate) fn new(sensor_id: &str) -> Self {
        let mut start = vec![0; PREFIX];
        prost::encoding::string::encode(1, &sensor_id.to_owned(), &mut start);
        start.push(2 << 3 | 1);
        Self { start }
    }

    /// The most bytes that a reading takes: start, temperature, tag and timestamp.
    pub(crate) fn max_length(&self) -> usize {
        self.start.len() + 8 + 1 + 10
    }
}

/// Appends `message` with its prefix.
pub(super) fn put(buffer: &mut Vec<u8>, message: &impl Message) {
    let start = buffer.len();
    buffer.extend_from_slice(&[0; PREFIX]);
    message.encode(buffer).expect("a Vec grows");
    put_length(&mut buffer[start..]);
}

fn put_length(message: &mut [u8]) {
    let length = u32::try_from(message.len() - PREFIX).expect("messages are far below 4 GiB");
    message[1..PREFIX].copy_from_slice(&length.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use kelvin_proto::{SensorReading, ServerMessage};
    use proptest::prelude::*;

    use super::*;

    fn message<M: Message + Default>(bytes: &[u8]) -> M {
        assert_eq!(bytes[0], 0);
        assert_eq!(u32::from_be_bytes(bytes[1..PREFIX].try_into().unwrap()) as usize, bytes.len() - PREFIX);
        M::decode(&bytes[PREFIX..]).unwrap()
    }

    proptest! {
        #[test]
        fn readings_are_written_as_prost_reads_them(
            sensor_id in ".{0,140}", temperature in any::<f64>(), timestamp in any::<i64>(),
        ) {
            let writer = ReadingPrefix::new(&sensor_id);
            let mut buffer = Vec::new();
            MessageWriter { buffer: &mut buffer }.put_reading(&writer, Reading { temperature, timestamp });
            prop_assert!(buffer.len() <= writer.max_length());
            prop_assert_eq!(message::<SensorReading>(&buffer), SensorReading { sensor_id, temperature, timestamp });
        }

        #[test]
        fn the_everyday_answer_is_written_as_prost_reads_it(server_time in any::<i64>(), accepted in any::<u64>()) {
            let mut buffer = Vec::new();
            MessageWriter { buffer: &mut buffer }.put_stored_ack(server_time, accepted);
            let severity = Some(Severity::Status.into());
            let expected =
                ServerMessage { message: "stored".into(), server_time, severity, accepted: Some(accepted) };
            prop_assert_eq!(message::<ServerMessage>(&buffer), expected);
        }
    }
}
