use bytes::{BufMut as _, Bytes, BytesMut};
use kelvin_proto::SensorReading;
use prost::Message;

/// Seconds between two readings of a sensor.
pub(crate) const INTERVAL: i64 = 10;

/// Sensors that send in turn: each walks at most 0.3 ° a reading, in tenths.
pub(crate) struct Sensors {
    all: Vec<Sensor>,
    turn: usize,
    random: fastrand::Rng,
    bytes: BytesMut,
}

struct Sensor {
    number: u32,
    tenths: i16,
    timestamp: i64,
}

impl Sensors {
    pub(crate) fn new(numbers: impl Iterator<Item = usize>) -> Self {
        let mut random = fastrand::Rng::with_seed(20);
        let sensor = |number| Sensor {
            number: u32::try_from(number).expect("far fewer sensors"),
            tenths: random.i16(150..250),
            // Long enough ago that history and the steady rate are not ahead of the server's clock.
            timestamp: kelvin_app::unix_now() - 400 * INTERVAL,
        };
        Self {
            all: numbers.map(sensor).collect(),
            turn: 0,
            random: fastrand::Rng::new(),
            bytes: BytesMut::new(),
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.all.len()
    }

    /// The next reading of so many sensors, as messages with their prefixes.
    pub(crate) fn encode(&mut self, count: usize) -> Bytes {
        for _ in 0..count {
            let count = self.all.len();
            let sensor = &mut self.all[self.turn];
            self.turn = (self.turn + 1) % count;
            sensor.tenths += self.random.i16(-3..=3);
            sensor.timestamp += INTERVAL;
            let reading = SensorReading {
                sensor_id: id(sensor.number as usize),
                temperature: f64::from(sensor.tenths) / 10.0,
                timestamp: sensor.timestamp,
            };
            put(&reading, &mut self.bytes);
        }
        self.bytes.split().freeze()
    }
}

/// Sixteen bytes.
pub(crate) fn id(number: usize) -> String {
    format!("sensor-{number:09}")
}

/// Appends a message with its prefix.
pub(crate) fn put(message: &impl Message, bytes: &mut BytesMut) {
    bytes.put_u8(0);
    bytes.put_u32(u32::try_from(message.encoded_len()).expect("our messages are short"));
    message.encode(bytes).expect("the buffer grows");
}
