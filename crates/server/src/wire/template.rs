//! Messages that differ in their last fields only, encoded by hand.
//!
//! A [`Template`] holds the prefix and the fields that stay, encoded by prost; writing one patches the end and the
//! length and copies all of it. `message` is as long as the longest message; its bytes from `tail` on belong to the
//! message written last, and the next one overwrites them. The tests decode what is written with prost.

use kelvin_proto::{Severity, frame::PREFIX};
use kelvin_store::Reading;

/// The most bytes of a varint of 64 bits.
const MAX_VARINT: usize = 10;
/// A double, a tag and a varint.
const MAX_TAIL: usize = 8 + 1 + MAX_VARINT;

/// A message with its prefix, which is written many times with different ends: each time costs one copy, whatever it holds.
#[derive(Debug)]
pub(crate) struct Template {
    /// The constant part, then room for the end.
    message: Vec<u8>,
    /// The index at which the end begins.
    tail: usize,
}

impl Template {
    /// A `SensorReading` of one sensor.
    pub(crate) fn reading(sensor_id: &str) -> Self {
        let mut start = vec![0; PREFIX];
        prost::encoding::string::encode(1, &sensor_id.to_owned(), &mut start);
        start.push(2 << 3 | 1);
        Self::new(start)
    }

    /// The answer to a reading that is stored and calls for no alert.
    pub(crate) fn stored_ack(server_time: i64) -> Self {
        let mut start = vec![0; PREFIX];
        start.extend_from_slice(b"\x0a\x06stored\x10");
        prost::encoding::encode_varint(server_time.cast_unsigned(), &mut start);
        start.extend_from_slice(&[3 << 3, Severity::Status as u8, 4 << 3]);
        Self::new(start)
    }

    fn new(mut message: Vec<u8>) -> Self {
        let tail = message.len();
        message.resize(tail + MAX_TAIL, 0);
        Self { message, tail }
    }

    /// The most bytes that a message takes.
    pub(crate) fn max_length(&self) -> usize {
        self.message.len()
    }

    /// Writes readings one after the other.
    pub(super) fn put_readings(&mut self, readings: &[Reading], buffer: &mut Vec<u8>) {
        // Five bytes are the years 1978 to 3058.
        if readings.iter().all(|reading| (1 << 28..1 << 35).contains(&reading.timestamp)) {
            return self.put_equal_lengths(readings, buffer);
        }
        for reading in readings {
            self.put_reading(*reading, buffer);
        }
    }

    /// Writes readings whose timestamps take five bytes each.
    fn put_equal_lengths(&mut self, readings: &[Reading], buffer: &mut Vec<u8>) {
        const TAIL: usize = 8 + 1 + 5;
        self.message[self.tail + 8] = 3 << 3;
        let message = &mut self.message[..self.tail + TAIL];
        put_length(message);
        let (start, length) = (buffer.len(), readings.len() * message.len());
        buffer.reserve(length);
        buffer.extend_from_slice(&message[..message.len().min(length)]);
        // Doubles what is there: a few long copies take less time than one for each message.
        while buffer.len() < start + length {
            let there = buffer.len() - start;
            buffer.extend_from_within(start..start + there.min(length - there));
        }
        for (message, reading) in buffer[start..].chunks_exact_mut(message.len()).zip(readings) {
            let tail: &mut [u8; TAIL] = message.last_chunk_mut().expect("a message ends with it");
            tail[..8].copy_from_slice(&reading.temperature.to_le_bytes());
            tail[9..].copy_from_slice(&varint(reading.timestamp.cast_unsigned()).0[..5]);
        }
    }

    #[inline]
    fn put_reading(&mut self, reading: Reading, buffer: &mut Vec<u8>) {
        let timestamp = self.tail + 9;
        self.message[self.tail..timestamp - 1].copy_from_slice(&reading.temperature.to_le_bytes());
        self.message[timestamp - 1] = 3 << 3;
        self.put(timestamp, reading.timestamp.cast_unsigned(), buffer);
    }

    #[inline]
    pub(super) fn put_accepted(&mut self, accepted: u64, buffer: &mut Vec<u8>) {
        self.put(self.tail, accepted, buffer);
    }

    /// Ends the message with a varint and appends it to `buffer`.
    #[inline]
    fn put(&mut self, at: usize, last: u64, buffer: &mut Vec<u8>) {
        let (bytes, length) = varint(last);
        self.message[at..at + MAX_VARINT].copy_from_slice(&bytes);
        let message = &mut self.message[..at + length];
        put_length(message);
        buffer.extend_from_slice(message);
    }
}

/// Fills in the length of a message behind its prefix.
pub(super) fn put_length(message: &mut [u8]) {
    let length = u32::try_from(message.len() - PREFIX).expect("messages are far below 4 GiB");
    message[1..PREFIX].copy_from_slice(&length.to_be_bytes());
}

/// Encodes a varint and returns how many of the bytes it takes. Numbers below 2^56, such as all timestamps, have their
/// groups of seven bits spread over bytes at once.
#[inline]
fn varint(value: u64) -> ([u8; MAX_VARINT], usize) {
    let mut bytes = [0; MAX_VARINT];
    if value >> 56 != 0 {
        let mut rest = &mut bytes[..];
        prost::encoding::encode_varint(value, &mut rest);
        let left = rest.len();
        return (bytes, MAX_VARINT - left);
    }
    let length = ((value | 1).ilog2() / 7 + 1) as usize;
    let halves = (value & 0x0fff_ffff) | (value & 0x00ff_ffff_f000_0000) << 4;
    let quarters = (halves & 0x0000_3fff_0000_3fff) | (halves & 0x0fff_c000_0fff_c000) << 2;
    let groups = (quarters & 0x007f_007f_007f_007f) | (quarters & 0x3f80_3f80_3f80_3f80) << 1;
    // All but the last say that another follows.
    let more = 0x8080_8080_8080_8080 & ((1_u64 << (8 * (length - 1))) - 1);
    bytes[..8].copy_from_slice(&(groups | more).to_le_bytes());
    (bytes, length)
}

#[cfg(test)]
mod tests {
    use kelvin_proto::{SensorReading, ServerMessage};
    use proptest::prelude::*;
    use prost::Message;

    use super::*;

    fn message<M: Message + Default>(bytes: &[u8]) -> M {
        assert_eq!(bytes[0], 0);
        assert_eq!(u32::from_be_bytes(bytes[1..PREFIX].try_into().unwrap()) as usize, bytes.len() - PREFIX);
        M::decode(&bytes[PREFIX..]).unwrap()
    }

    /// Numbers of every length.
    fn number() -> impl Strategy<Value = u64> {
        (any::<u64>(), 0_u32..64).prop_map(|(value, shift)| value >> shift)
    }

    proptest! {
        #[test]
        fn varint_agrees_with_prost(value in number()) {
            let (bytes, length) = varint(value);
            let mut expected = Vec::new();
            prost::encoding::encode_varint(value, &mut expected);
            prop_assert_eq!(&bytes[..length], &expected[..]);
        }

        #[test]
        fn readings_are_written_as_prost_reads_them(
            sensor_id in ".{0,140}",
            runs in prop::collection::vec(
                prop::collection::vec((any::<f64>(), prop_oneof![1 => number(), 9 => 1_u64 << 28..1 << 35]), 1..12),
                1..5,
            ),
        ) {
            let mut template = Template::reading(&sensor_id);
            let mut buffer = Vec::new();
            let readings = |run: &[(f64, u64)]| -> Vec<_> {
                let reading = |(temperature, timestamp): &(f64, u64)| {
                    Reading { temperature: *temperature, timestamp: timestamp.cast_signed() }
                };
                run.iter().map(reading).collect()
            };
            for run in &runs {
                template.put_readings(&readings(run), &mut buffer);
            }
            let mut rest = &buffer[..];
            for Reading { temperature, timestamp } in runs.iter().flat_map(|run| readings(run)) {
                let length = PREFIX + u32::from_be_bytes(rest[1..PREFIX].try_into().unwrap()) as usize;
                prop_assert!(length <= template.max_length());
                let expected = SensorReading { sensor_id: sensor_id.clone(), temperature, timestamp };
                prop_assert_eq!(message::<SensorReading>(&rest[..length]), expected);
                rest = &rest[length..];
            }
            prop_assert!(rest.is_empty());
        }

        #[test]
        fn stored_ack_is_written_as_prost_reads_it(
            server_time in any::<i64>(), counts in prop::collection::vec(number(), 1..5),
        ) {
            let mut template = Template::stored_ack(server_time);
            for accepted in counts {
                let mut buffer = Vec::new();
                template.put_accepted(accepted, &mut buffer);
                let severity = Some(Severity::Status.into());
                let expected =
                    ServerMessage { message: "stored".into(), server_time, severity, accepted: Some(accepted) };
                prop_assert_eq!(message::<ServerMessage>(&buffer), expected);
            }
        }
    }
}
