use proptest::{collection::vec, prelude::*};

use super::{BitWriter, Decoder, FRAME, State};
use crate::Reading;

/// Encodes whole frames as a block does, a writer a frame, and decodes them; panics unless all are the same to the bit.
fn round_trip(readings: &[Reading]) -> u32 {
    let frames = readings.as_chunks::<FRAME>().0;
    let (mut words, mut length) = (Vec::new(), 0);
    let mut state = State::before(&frames[0]);
    for (index, frame) in frames.iter().enumerate() {
        let mut writer = BitWriter::new(&mut words, length);
        if index == 0 {
            state.begin(&mut writer);
        }
        state.put(&mut writer, frame);
        length = writer.finish();
        // A growing stream can be read at any time.
        let mut decoder = Decoder::new(&words);
        for expected in &frames[..=index] {
            let mut found = [Reading { temperature: 0.0, timestamp: 0 }; FRAME];
            decoder.next_frame(&mut found);
            assert_eq!(bits(&found), bits(expected), "frame {index}");
        }
    }
    assert_eq!(words.len(), length.div_ceil(64) as usize);
    length
}

fn bits(readings: &[Reading; FRAME]) -> [(u64, i64); FRAME] {
    readings.map(|reading| (reading.temperature.to_bits(), reading.timestamp))
}

fn temperature() -> impl Strategy<Value = f64> {
    prop_oneof![
        6 => (-5000..5000_i32).prop_map(|value| f64::from(value) / 10.0),
        3 => (-5000..5000_i32).prop_map(|value| f64::from(value) / 16.0),
        3 => (-500_000..500_000_i32).prop_map(|value| f64::from(value) / 1000.0),
        3 => -1e6..1e6_f64,
        1 => prop::num::f64::ANY.prop_filter("readings are finite", |value| value.is_finite()),
        1 => prop::num::f64::SUBNORMAL,
        1 => prop::sample::select(vec![0.0, -0.0, f64::MAX, f64::MIN, f64::MIN_POSITIVE, 2_251_799_813_685_248.0]),
    ]
}

fn timestamp() -> impl Strategy<Value = i64> {
    prop_oneof![
        6 => 1_700_000_000..1_700_100_000_i64,
        1 => any::<i64>(),
        1 => prop::sample::select(vec![i64::MIN, i64::MAX, 0, -1]),
    ]
}

fn reading() -> impl Strategy<Value = Reading> {
    (temperature(), timestamp()).prop_map(|(temperature, timestamp)| Reading { temperature, timestamp })
}

proptest! {
    #[test]
    fn arbitrary_readings_are_exact(readings in vec(reading(), FRAME..FRAME * 8)) {
        round_trip(&readings);
    }

    #[test]
    fn runs_of_one_kind_are_exact(
        parts in vec((prop::sample::select(vec![1.0, 10.0, 16.0, 100.0, 256.0, 1e3, 1e4, 1e6, 0.1, 3.0]), vec(-3000..3000_i32, 40)), 1..5),
        step in -100..100_i64,
    ) {
        let temperatures = parts.iter().flat_map(|(scale, values)| values.iter().map(move |value| f64::from(*value) / scale));
        let readings: Vec<_> = temperatures
            .zip((0..).map(|at| 1_700_000_000 + at * step))
            .map(|(temperature, timestamp)| Reading { temperature, timestamp })
            .collect();
        round_trip(&readings);
    }
}

#[test]
fn odd_values_among_decimals_stay_cheap() {
    let mut readings: Vec<_> = (0..FRAME * 4)
        .map(|at| Reading { temperature: (at % 7) as f64 / 10.0, timestamp: 10 * i64::try_from(at).unwrap() })
        .collect();
    let plain = round_trip(&readings);
    readings[37].temperature = -0.0;
    readings[38].temperature = 1.0 / 3.0;
    assert!(round_trip(&readings) < plain + 2 * 90);
}

#[test]
fn steady_sensor_takes_three_bits_a_frame() {
    let readings = (1_700_000_000..).step_by(10).map(|timestamp| Reading { temperature: 21.5, timestamp });
    let length = round_trip(&readings.take(FRAME * 8).collect::<Vec<_>>());
    assert_eq!(length, 3 * 64 + 4 + 8 * 3);
}
