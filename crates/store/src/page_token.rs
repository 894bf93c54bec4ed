use std::fmt::Write as _;

use crate::StoreError;

/// The sensor that ended a page, as callers carry it to the next one. It holds nothing but the name they were given
/// with that page, so it tells nothing of where or in which order a store keeps things, and every server of a shared
/// store understands it. The checksum catches mistakes; a token that somebody made up only begins a page elsewhere.
pub(crate) fn encode(sensor_id: &str) -> String {
    let mut token = format!("{:08x}", checksum(sensor_id.as_bytes()));
    for byte in sensor_id.bytes() {
        write!(token, "{byte:02x}").expect("a string takes all");
    }
    token
}

/// The sensor of a token, nothing for the empty token of the first page.
pub(crate) fn decode(token: &str) -> Result<Option<String>, StoreError> {
    if token.is_empty() {
        return Ok(None);
    }
    parse(token).map(Some).ok_or(StoreError::PageToken)
}

fn parse(token: &str) -> Option<String> {
    let pairs = token.as_bytes().as_chunks::<2>();
    let bytes: Option<Vec<u8>> =
        pairs.0.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect();
    let bytes = bytes.filter(|_| pairs.1.is_empty())?;
    let (sum, id) = bytes.split_first_chunk()?;
    (u32::from_be_bytes(*sum) == checksum(id)).then(|| String::from_utf8(id.to_vec()).ok())?
}

/// Only what [`encode`] writes: a token has one spelling.
fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    }
}

/// FNV-1a, <https://datatracker.ietf.org/doc/html/rfc9923>.
fn checksum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811C_9DC5, |sum, byte| (sum ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{decode, encode};

    proptest! {
        #[test]
        fn encoded_sensor_is_decoded(id in ".{0,128}") {
            prop_assert_eq!(decode(&encode(&id)).unwrap(), Some(id));
        }

        #[test]
        fn changed_token_is_rejected(id in ".{1,20}", at: prop::sample::Index, other in "[0-9a-f]") {
            let mut token = encode(&id);
            let at = at.index(token.len());
            prop_assume!(token[at..=at] != other);
            token.replace_range(at..=at, &other);
            prop_assert!(decode(&token).is_err());
        }
    }
}
