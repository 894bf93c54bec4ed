//! The `grpc-timeout` header.

use std::time::Duration;

use http::HeaderMap;

use crate::headers::{GRPC_TIMEOUT, find};

/// What the caller allows the call to take; a malformed header allows anything, as in tonic.
pub(crate) fn from_headers(headers: &HeaderMap) -> Option<Duration> {
    parse(find(headers, &GRPC_TIMEOUT)?.as_bytes())
}

/// Reads the value of a `grpc-timeout` header: a `TimeoutValue` of at most eight digits, then a `TimeoutUnit`
/// ([PROTOCOL-HTTP2](https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md)). `None` if it is malformed.
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
        fn anything_else_is_ignored(value in "[0-9]{9,}[HMSmun]|[0-9]{1,8}[^HMSmun0-9]?|[+-][0-9]+S|[HMSmun]?") {
            prop_assert_eq!(parse(value.as_bytes()), None);
        }
    }
}
