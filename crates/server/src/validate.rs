use std::{fmt, ops::RangeInclusive, time::Duration};

use kelvin_app::unix_now;
use kelvin_store::{Reading, SensorId};

/// Bytes of the longest sensor id.
pub(crate) const MAX_SENSOR_ID: usize = 128;

/// Degrees Celsius of 0 K (SI Brochure, 9th edition, 2.3.1): nothing is colder.
const ABSOLUTE_ZERO: f64 = -273.15;

/// Degrees Celsius that no sensor reaches: pyrometers and thermocouples end near 3,500 °C, the Sun's surface is 5,500 °C.
/// The bound keeps sums, and sums of squares of 2^63 readings, far below the largest `f64`.
pub(crate) const MAX_TEMPERATURE: f64 = 1e6;

/// The temperatures that are accepted, in degrees Celsius.
pub(crate) const TEMPERATURES: RangeInclusive<f64> = ABSOLUTE_ZERO..=MAX_TEMPERATURE;

/// The reason why a reading or a request is invalid.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Invalid {
    EmptySensorId,
    LongSensorId(usize),
    NotFinite(f64),
    BelowAbsoluteZero(f64),
    AboveMaximum(f64),
    TimestampInFuture { timestamp: i64, latest: i64 },
    ShortStep(i64),
}

/// The latest timestamp that is taken now, in Unix seconds.
pub(crate) fn latest_timestamp(max_clock_skew: Duration) -> i64 {
    unix_now().saturating_add(i64::try_from(max_clock_skew.as_secs()).unwrap_or(i64::MAX))
}

pub(crate) fn check_reading(sensor_id: SensorId<'_>, reading: Reading, latest: i64) -> Result<(), Invalid> {
    check_length(sensor_id.as_bytes())?;
    let Reading { temperature, timestamp } = reading;
    if !temperature.is_finite() {
        Err(Invalid::NotFinite(temperature))
    } else if temperature < ABSOLUTE_ZERO {
        Err(Invalid::BelowAbsoluteZero(temperature))
    } else if temperature > MAX_TEMPERATURE {
        Err(Invalid::AboveMaximum(temperature))
    } else if timestamp > latest {
        Err(Invalid::TimestampInFuture { timestamp, latest })
    } else {
        Ok(())
    }
}

pub(crate) fn check_sensor_id(sensor_id: &str) -> Result<(), Invalid> {
    check_length(sensor_id.as_bytes())
}

fn check_length(sensor_id: &[u8]) -> Result<(), Invalid> {
    match sensor_id.len() {
        0 => Err(Invalid::EmptySensorId),
        1..=MAX_SENSOR_ID => Ok(()),
        length => Err(Invalid::LongSensorId(length)),
    }
}

impl Invalid {
    /// The field's name in the contract.
    pub(crate) fn field(self) -> &'static str {
        match self {
            Self::EmptySensorId | Self::LongSensorId(_) => "sensor_id",
            Self::NotFinite(_) | Self::BelowAbsoluteZero(_) | Self::AboveMaximum(_) => "temperature",
            Self::TimestampInFuture { .. } => "timestamp",
            Self::ShortStep(_) => "step",
        }
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EmptySensorId => write!(f, "sensor_id must not be empty"),
            Self::LongSensorId(length) => {
                write!(f, "sensor_id is {length} bytes long; at most {MAX_SENSOR_ID} are allowed")
            }
            Self::NotFinite(temperature) => write!(f, "temperature must be a number, not {temperature}"),
            Self::BelowAbsoluteZero(temperature) => {
                write!(f, "temperature {temperature} °C is below absolute zero ({ABSOLUTE_ZERO} °C)")
            }
            Self::ShortStep(step) => write!(f, "step {step} is too short: it must be at least 1 second"),
            Self::AboveMaximum(temperature) => {
                write!(f, "temperature {temperature} °C is above the maximum ({MAX_TEMPERATURE} °C)")
            }
            Self::TimestampInFuture { timestamp, latest } => {
                write!(
                    f,
                    "timestamp {timestamp} is too far in the future: at most {latest} (Unix seconds) is accepted now (KELVIN_MAX_CLOCK_SKEW)"
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_at_contract_limits_are_valid() {
        let check = |id: &str, temperature, timestamp| {
            check_reading(id.into(), Reading { temperature, timestamp }, 1000).map_err(Invalid::field)
        };
        assert_eq!(check("a", -273.15, 1000), Ok(()));
        assert_eq!(check(&"a".repeat(128), MAX_TEMPERATURE, i64::MIN), Ok(()));
        assert_eq!(check("a", MAX_TEMPERATURE.next_up(), 1), Err("temperature"));
        assert_eq!(check("", 1.0, 1), Err("sensor_id"));
        assert_eq!(check(&"ä".repeat(65), 1.0, 1), Err("sensor_id"));
        assert_eq!(check("a", -273.16, 1), Err("temperature"));
        assert_eq!(check("a", f64::NAN, 1), Err("temperature"));
        assert_eq!(check("a", f64::INFINITY, 1), Err("temperature"));
        assert_eq!(check("a", 1.0, 1001), Err("timestamp"));
    }
}
