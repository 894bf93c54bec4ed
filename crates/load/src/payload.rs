use bytes::{BufMut as _, Bytes, BytesMut};
use kelvin_proto::{SensorReading, SensorRequest, frame::PAYLOAD};
use prost::Message;

use kelvin_app::unix_now;

/// The requests, encoded once.
pub(crate) struct Payload {
    /// One reading each.
    pub singles: Vec<Frame>,
    /// The same readings, as many in a DATA frame as fit, or one each.
    pub frames: Vec<Frame>,
    /// A request for each sensor.
    pub requests: Vec<Bytes>,
}

/// The payload of a DATA frame: whole messages with their prefixes.
#[derive(Clone)]
pub(crate) struct Frame {
    pub bytes: Bytes,
    pub messages: u64,
}

impl Payload {
    /// Encodes readings of all sensors in turn, several of each unless there are very many sensors.
    pub(crate) fn new(sensors: usize, messages: u64, one_message_per_frame: bool) -> Self {
        let rounds = (20_000 / sensors).clamp(1, 64);
        let singles = encode((0..rounds * sensors).map(|at| reading(at % sensors, at / sensors)));
        let frames = if one_message_per_frame { singles.clone() } else { join(&singles) };
        let requests = (0..sensors)
            .map(|sensor| {
                let request =
                    SensorRequest { sensor_id: id(sensor), limit: Some(messages), ..Default::default() };
                let mut bytes = BytesMut::new();
                put(&request, &mut bytes);
                bytes.freeze()
            })
            .collect();
        Self { singles, frames, requests }
    }

    /// Encodes readings of one sensor in full frames.
    pub(crate) fn of_sensor(sensor: usize, messages: u64) -> Vec<Frame> {
        let round = usize::try_from(messages).unwrap_or(usize::MAX);
        join(&encode((0..round).map(|round| reading(sensor, round))))
    }
}

fn id(sensor: usize) -> String {
    format!("load-{sensor:06}")
}

/// Returns a point of a daily curve, in hundredths of a degree like a sensor of that resolution.
fn reading(sensor: usize, round: usize) -> SensorReading {
    let phase = (sensor * 7 + round) as f64 / 10.0;
    let temperature = ((20.0 + 5.0 * phase.sin()) * 100.0).round() / 100.0;
    SensorReading { sensor_id: id(sensor), temperature, timestamp: unix_now() }
}

fn encode(readings: impl Iterator<Item = SensorReading>) -> Vec<Frame> {
    let mut bytes = BytesMut::new();
    readings
        .map(|reading| {
            put(&reading, &mut bytes);
            Frame { bytes: bytes.split().freeze(), messages: 1 }
        })
        .collect()
}

/// Appends a message with its prefix: not compressed, and how long it is.
fn put(message: &impl Message, bytes: &mut BytesMut) {
    bytes.put_u8(0);
    bytes.put_u32(u32::try_from(message.encoded_len()).expect("our messages are short"));
    message.encode(bytes).expect("the buffer grows");
}

fn join(singles: &[Frame]) -> Vec<Frame> {
    let mut frames = Vec::new();
    let (mut bytes, mut messages) = (BytesMut::with_capacity(PAYLOAD), 0);
    for single in singles {
        if bytes.len() + single.bytes.len() > PAYLOAD {
            frames.push(Frame { bytes: bytes.split().freeze(), messages });
            bytes.reserve(PAYLOAD);
            messages = 0;
        }
        bytes.extend_from_slice(&single.bytes);
        messages += 1;
    }
    frames.push(Frame { bytes: bytes.freeze(), messages });
    frames
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::Messages;

    #[test]
    fn frames_hold_whole_readings_of_all_sensors_and_fit_a_tls_record() {
        let sensors = 1000;
        for one_message_per_frame in [false, true] {
            let payload = Payload::new(sensors, 1, one_message_per_frame);
            let mut found = std::collections::HashSet::new();
            for frame in &payload.frames {
                assert!(frame.bytes.len() <= PAYLOAD);
                let (mut finder, mut messages) = (Messages::default(), 0);
                let each = |message: &[u8]| {
                    messages += 1;
                    found.insert(SensorReading::decode(message).unwrap().sensor_id);
                };
                finder.feed(&frame.bytes, each).unwrap();
                finder.end().unwrap();
                assert_eq!(messages, frame.messages);
                assert!(!one_message_per_frame || messages == 1);
            }
            assert_eq!(found.len(), sensors);
        }
    }
}
