//! The `grpc-timeout` header.

use std::{error::Error, fmt, time::Duration};

use http::{HeaderMap, HeaderValue};
use tonic::Status;

pub use crate::headers::GRPC_TIMEOUT;
use crate::headers::find;

/// A `grpc-timeout` header that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MalformedTimeout;

impl fmt::Display for MalformedTimeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("malformed grpc-timeout header")
    }
}

impl Error for MalformedTimeout {}

/// `INVALID_ARGUMENT`: it is the caller's mistake, and `INTERNAL` would count as the server's.
impl From<MalformedTimeout> for Status {
    fn from(error: MalformedTimeout) -> Self {
        Self::invalid_argument(error.to_string())
    }
}

/// Returns how long the caller allows the call to take, if it says so.
///
/// # Errors
///
/// Returns an error if the header is malformed. A server should refuse the call: without its deadline, it might go on long
/// after the caller has given up.
pub fn from_headers(headers: &HeaderMap) -> Result<Option<Duration>, MalformedTimeout> {
    find(headers, &GRPC_TIMEOUT).map(|value| parse(value.as_bytes()).ok_or(MalformedTimeout)).transpose()
}

/// Writes the value of a `grpc-timeout` header, in the smallest unit that takes at most eight digits. What is smaller is cut
/// off, so that the server's deadline is never later than the caller's.
#[must_use]
pub fn to_header_value(timeout: Duration) -> HeaderValue {
    let units = [(1, 'n'), (1_000, 'u'), (1_000_000, 'm')];
    let nanos = timeout.as_nanos();
    let text = match units.into_iter().find(|(length, _)| nanos / length <= MAX_VALUE.into()) {
        Some((length, unit)) => format!("{}{unit}", nanos / length),
        None => format!("{}S", timeout.as_secs().min(MAX_VALUE)),
    };
    HeaderValue::try_from(text).expect("digits and a letter")
}

/// The largest `TimeoutValue`: it has at most eight digits.
const MAX_VALUE: u64 = 99_999_999;

/// Reads the value of a `grpc-timeout` header; returns `None` if it is malformed.
///
/// It is a `TimeoutValue` of at most eight digits, then a `TimeoutUnit` from `H` (hours) to `n` (nanoseconds)
/// ([PROTOCOL-HTTP2](https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md)).
#[must_use]
pub fn parse(value: &[u8]) -> Option<Duration> {
    let (unit, digits) = value.split_last()?;
    if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let amount = digits.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'));
    match unit {
        b'H' => Some(Duration::from_secs(amount * 3600)),
        b'M' => Some(Duration::from_secs(amount * 60)),
        b'S' => Some(Duration::from_secs(amount)),
        b'm' => Some(Duration::from_millis(amount)),
        b'u' => Some(Duration::from_micros(amount)),
        b'n' => Some(Duration::from_nanos(amount)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn smallest_unit_of_at_most_eight_digits_is_written() {
        for (timeout, value) in [
            (Duration::ZERO, "0n"),
            (Duration::from_nanos(99_999_999), "99999999n"),
            (Duration::from_millis(1500), "1500000u"),
            (Duration::from_secs(10_000), "10000000m"),
            (Duration::from_secs(100_000), "100000S"),
            (Duration::MAX, "99999999S"),
        ] {
            assert_eq!(to_header_value(timeout), value);
        }
    }

    proptest! {
        #[test]
        fn valid_timeout_is_parsed(amount in 0_u32..=99_999_999, unit in 0_usize..6) {
            let (letter, nanos) = [
                ('H', 3_600_000_000_000_u128),
                ('M', 60_000_000_000),
                ('S', 1_000_000_000),
                ('m', 1_000_000),
                ('u', 1_000),
                ('n', 1),
            ][unit];
            let parsed = parse(format!("{amount}{letter}").as_bytes()).unwrap();
            prop_assert_eq!(parsed.as_nanos(), u128::from(amount) * nanos);
        }

        #[test]
        fn written_timeout_is_parsed_and_never_longer(
            seconds in prop_oneof![Just(0), 0..200_000_u64, 0..1_u64 << 40],
            nanos in 0..1_000_000_000_u32,
        ) {
            let timeout = Duration::new(seconds, nanos);
            let parsed = parse(to_header_value(timeout).as_bytes()).unwrap();
            // The value has at least five digits where a larger unit was needed.
            let lost = timeout.min(Duration::from_secs(MAX_VALUE)).saturating_sub(parsed);
            prop_assert!(parsed <= timeout && lost <= timeout / 10_000, "{parsed:?}");
        }

        #[test]
        fn anything_else_is_malformed(value in "[0-9]{9,}[HMSmun]|[0-9]{1,8}[^HMSmun0-9]?|[+-][0-9]+S|[HMSmun]?") {
            prop_assert_eq!(parse(value.as_bytes()), None);
        }
    }
}
