//! The parser of readings accepts and rejects what prost does, with the same result.

#![no_main]

use kelvin_proto::SensorReading;
use libfuzzer_sys::fuzz_target;
use prost::Message as _;

fuzz_target!(|message: &[u8]| {
    let expected = SensorReading::decode(message)
        .ok()
        .map(|reading| (reading.sensor_id, reading.temperature.to_bits(), reading.timestamp));
    assert_eq!(kelvin_server::fuzz::parse_reading(message), expected);
});
