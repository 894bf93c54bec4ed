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
        let singles = encode_each((0..rounds * sensors).map(|at| reading(at % sensors, at / sensors)));
        let frames = if one_message_per_frame { singles.clone() } else { pack(&singles) };
        let requests = (0..sensors)
            .map(|sensor| {
                let request = SensorRequest {
                    sensor_id: sensor_id(sensor),
                    limit: Some(messages),
                    ..Default::default()
                };
                let mut bytes = BytesMut::new();
                encode_message(&request, &mut bytes);
                bytes.freeze()
            })
            .collect();
        Self { singles, frames, requests }
    }

    /// Encodes readings of one sensor in full frames.
    pub(crate) fn for_sensor(sensor: usize, messages: u64) -> Vec<Frame> {
        let round = usize::try_from(messages).unwrap_or(usize::MAX);
        pack(&encode_each((0..round).map(|round| reading(sensor, round))))
    }
}

fn sensor_id(sensor: usize) -> String {
    format!("load-{sensor:06}")
}

/// Returns a point of a daily curve, in hundredths of a degree like a sensor of that resolution.
fn reading(sensor: usize, round: usize) -> SensorReading {
    let phase = (sensor * 7 + round) as f64 / 10.0;
    let temperature = ((20.0 + 5.0 * phase.sin()) * 100.0).round() / 100.0;
    SensorReading { sensor_id: sensor_id(sensor), temperature, timestamp: unix_now() }
}

fn encode_each(readings: impl Iterator<Item = SensorReading>) -> Vec<Frame> {
    let mut bytes = BytesMut::new();
    readings
        .map(|reading| {
            encode_message(&reading, &mut bytes);
            Frame { bytes: bytes.split().freeze(), messages: 1 }
        })
        .collect()
}

/// Appends a message with its prefix: not compressed, and how long it is.
fn encode_message(message: &impl Message, bytes: &mut BytesMut) {
    bytes.put_u8(0);
    bytes.put_u32(u32::try_from(message.encoded_len()).expect("our messages are short"));
    message.encode(bytes).expect("the buffer grows");
}

/// Packs as many messages into each frame as fit.
fn pack(singles: &[Frame]) -> Vec<Frame> {
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
    use kelvin_proto::Deframer;
    use tonic::Status;

    use super::*;

    #[test]
    fn frames_hold_whole_messages_and_fit_a_tls_record() {
        let sensors = 1000;
        for one_message_per_frame in [false, true] {
            let payload = Payload::new(sensors, 1, one_message_per_frame);
            let mut found = std::collections::HashSet::new();
            for frame in &payload.frames {
                assert!(frame.bytes.len() <= PAYLOAD);
                let (mut deframer, mut messages) = (Deframer::new(PAYLOAD, false), 0);
                let on_message = |_, message: &[u8]| {
                    messages += 1;
                    found.insert(SensorReading::decode(message).unwrap().sensor_id);
                    Ok::<_, Status>(())
                };
                deframer.feed(&frame.bytes, on_message).unwrap();
                assert!(deframer.is_between_messages());
                assert_eq!(messages, frame.messages);
                assert!(!one_message_per_frame || messages == 1);
            }
            assert_eq!(found.len(), sensors);
        }
    }
}
