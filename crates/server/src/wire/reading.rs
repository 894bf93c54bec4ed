//! `SensorReading`s without prost's allocation for the sensor id.
//!
//! Two decoders of everyday messages stand before prost's: one for fields in order, one for fields in any order. Each
//! returns `None` for whatever it is not sure of, errors included, and prost decides: what is accepted, and as what, is
//! prost's alone. The tests compare them.

use kelvin_proto::SensorReading;
use kelvin_store::{Reading, SensorId};
use prost::Message as _;

pub(crate) use prost::DecodeError;

// Tags of SensorReading: field number << 3 | wire type.
const SENSOR_ID: u8 = 1 << 3 | 2;
const TEMPERATURE: u8 = 2 << 3 | 1;
const TIMESTAMP: u8 = 3 << 3;

/// Reads one `SensorReading` without an allocation where it holds nothing unusual.
pub(crate) fn read_reading<T>(
    message: &[u8],
    use_it: impl FnOnce(SensorId<'_>, Reading) -> T,
) -> Result<T, DecodeError> {
    if let Some((sensor_id, reading)) = decode_in_order(message).or_else(|| decode_fast_path(message)) {
        return Ok(use_it(sensor_id, reading));
    }
    let SensorReading { sensor_id, temperature, timestamp } = SensorReading::decode(message)?;
    Ok(use_it(SensorId::from(&sensor_id), Reading { temperature, timestamp }))
}

/// The fields as every encoder writes them, each once and in order; `None` for everything else.
#[inline]
fn decode_in_order(message: &[u8]) -> Option<(SensorId<'_>, Reading)> {
    let [SENSOR_ID, length @ 0..0x80, rest @ ..] = message else { return None };
    let (text, rest) = rest.split_at_checked(usize::from(*length))?;
    let (fixed, rest) = rest.split_first_chunk::<10>()?;
    let (TEMPERATURE, temperature, TIMESTAMP) = (fixed[0], fixed[1..9].try_into().ok()?, fixed[9]) else {
        return None;
    };
    let (timestamp, []) = read_varint(rest)? else { return None };
    let reading = Reading { temperature: f64::from_le_bytes(temperature), timestamp };
    Some((SensorId::parse(text)?, reading))
}

/// `None` for everything that encoders of this contract do not send in everyday use: unknown fields, a sensor id
/// of 128 bytes or more, a negative timestamp, and whatever is wrong.
fn decode_fast_path(mut rest: &[u8]) -> Option<(SensorId<'_>, Reading)> {
    let mut sensor_id = SensorId::from("");
    let mut reading = Reading { temperature: 0.0, timestamp: 0 };
    while let Some((tag, value)) = rest.split_first() {
        rest = match *tag {
            SENSOR_ID => {
                let (length, value) = value.split_first().filter(|(length, _)| **length < 0x80)?;
                let (text, after) = value.split_at_checked(usize::from(*length))?;
                sensor_id = SensorId::parse(text)?;
                after
            }
            TEMPERATURE => {
                let (bytes, after) = value.split_first_chunk()?;
                reading.temperature = f64::from_le_bytes(*bytes);
                after
            }
            TIMESTAMP => {
                let (timestamp, after) = read_varint(value)?;
                reading.timestamp = timestamp;
                after
            }
            _ => return None,
        };
    }
    Some((sensor_id, reading))
}

/// A varint of at most nine bytes, which is any number from 0 up.
fn read_varint(bytes: &[u8]) -> Option<(i64, &[u8])> {
    // Five bytes are the years 1978 to 3058.
    if let Some(first) = bytes.first_chunk::<5>()
        && first[..4].iter().all(|byte| byte & 0x80 != 0)
        && first[4] & 0x80 == 0
    {
        let value = first.iter().rev().fold(0, |value, byte| value << 7 | i64::from(byte & 0x7f));
        return Some((value, &bytes[5..]));
    }
    let mut value = 0;
    for (index, byte) in bytes.iter().enumerate().take(9) {
        value |= i64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((value, &bytes[index + 1..]));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ours(message: &[u8]) -> Result<(String, u64, i64), DecodeError> {
        read_reading(message, |id, reading| {
            (id.as_str().to_owned(), reading.temperature.to_bits(), reading.timestamp)
        })
    }

    fn prosts(message: &[u8]) -> Result<(String, u64, i64), DecodeError> {
        SensorReading::decode(message).map(|m| (m.sensor_id, m.temperature.to_bits(), m.timestamp))
    }

    proptest! {
        #[test]
        fn readings_are_read_as_prost_reads_them(
            sensor_id in ".{0,140}", bits in any::<u64>(), timestamp in any::<i64>(),
        ) {
            let sent = SensorReading { sensor_id, temperature: f64::from_bits(bits), timestamp };
            let bytes = sent.encode_to_vec();
            prop_assert_eq!(ours(&bytes), prosts(&bytes));
        }

        /// Fields in any order, twice, unknown, cut off, with wrong wire types.
        #[test]
        fn anything_else_is_read_as_prost_reads_it(
            fields in prop::collection::vec(field(), 0..6), cut in any::<prop::sample::Index>(), whole in any::<bool>(),
        ) {
            let bytes = fields.concat();
            let end = if whole { bytes.len() } else { cut.index(bytes.len() + 1) };
            prop_assert_eq!(ours(&bytes[..end]), prosts(&bytes[..end]));
        }

        #[test]
        fn noise_is_read_as_prost_reads_it(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            prop_assert_eq!(ours(&bytes), prosts(&bytes));
        }
    }

    fn field() -> impl Strategy<Value = Vec<u8>> {
        let bytes = |range| prop::collection::vec(any::<u8>(), range);
        let text = prop_oneof!["[a-z]{0,9}".prop_map(String::into_bytes), bytes(0..9)];
        let varint = any::<i64>().prop_flat_map(|value| {
            (0_u32..64).prop_map(move |shift| {
                let mut out = Vec::new();
                prost::encoding::encode_varint((value >> shift).cast_unsigned(), &mut out);
                out
            })
        });
        prop_oneof![
            text.prop_map(|text| [&[SENSOR_ID, u8::try_from(text.len()).unwrap()], &text[..]].concat()),
            bytes(8..9).prop_map(|value| [&[TEMPERATURE], &value[..]].concat()),
            varint.clone().prop_map(|value| [&[TIMESTAMP], &value[..]].concat()),
            (4_u8..16, varint).prop_map(|(number, value)| [&[number << 3], &value[..]].concat()),
            (any::<u8>(), bytes(0..12)).prop_map(|(tag, value)| [&[tag], &value[..]].concat()),
        ]
    }

    #[test]
    fn everyday_readings_take_the_short_way() {
        let sent = SensorReading { sensor_id: "cellar".into(), temperature: 8.5, timestamp: 1_790_000_000 };
        let expected = Reading { temperature: 8.5, timestamp: 1_790_000_000 };
        assert_eq!(decode_fast_path(&sent.encode_to_vec()), Some(("cellar".into(), expected)));
    }
}
