//! Compressed messages of requests (gRPC over HTTP/2, "Message-Encoding").

use std::io::Read as _;

use flate2::bufread::GzDecoder;
use http::{HeaderMap, HeaderName, HeaderValue};
use tonic::Status;

static ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");

/// The names of [`Encoding`] for `grpc-accept-encoding`.
pub(crate) const ACCEPTED: HeaderValue = HeaderValue::from_static("identity,gzip");

/// The same for health and reflection. Health answers unauthenticated callers, for whom nothing is decompressed.
pub(crate) const ACCEPTED_BY_AUXILIARY: HeaderValue = HeaderValue::from_static("identity");

/// How the messages of a call with the compressed flag are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    Identity,
    Gzip,
}

impl Encoding {
    /// Reads `grpc-encoding`.
    pub(crate) fn of(headers: &HeaderMap) -> Result<Self, Status> {
        match headers.get(&ENCODING).map(HeaderValue::as_bytes) {
            None | Some(b"identity") => Ok(Self::Identity),
            Some(b"gzip") => Ok(Self::Gzip),
            Some(other) => {
                let name = String::from_utf8_lossy(&other[..other.len().min(32)]);
                Err(Status::unimplemented(format!(
                    "grpc-encoding {name:?} is not supported; send identity or gzip"
                )))
            }
        }
    }
}

/// The reason why a message cannot be decompressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GunzipError {
    /// Longer than this many bytes when decompressed.
    InflatesBeyond(usize),
    NotGzip,
}

impl From<GunzipError> for Status {
    fn from(error: GunzipError) -> Self {
        match error {
            GunzipError::InflatesBeyond(limit) => Self::resource_exhausted(format!(
                "a decompressed message is longer than the limit of {limit} bytes"
            )),
            GunzipError::NotGzip => Self::internal("a message cannot be decompressed: it is not valid gzip"),
        }
    }
}

/// Decompresses one message. Stops at the limit, so that a bomb costs no more than a message of that length.
pub(super) fn gunzip(message: &[u8], limit: usize) -> Result<Vec<u8>, GunzipError> {
    let mut decoder = GzDecoder::new(message);
    let mut inflated = Vec::new();
    let read = decoder.by_ref().take(limit as u64 + 1).read_to_end(&mut inflated);
    if inflated.len() > limit {
        return Err(GunzipError::InflatesBeyond(limit));
    }
    // A second member would be legal gzip, but no gRPC library sends one, and each costs as much as a message.
    if read.is_err() || !decoder.into_inner().is_empty() {
        return Err(GunzipError::NotGzip);
    }
    Ok(inflated)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::{Compression, write::GzEncoder};
    use proptest::prelude::*;

    use super::*;

    fn gzip(message: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(message).unwrap();
        encoder.finish().unwrap()
    }

    proptest! {
        #[test]
        fn message_within_the_limit_is_decompressed(message in prop::collection::vec(0_u8..4, 0..400), limit in 0_usize..400) {
            let expected = if message.len() > limit { Err(GunzipError::InflatesBeyond(limit)) } else { Ok(message.clone()) };
            prop_assert_eq!(gunzip(&gzip(&message), limit), expected);
        }

        #[test]
        fn damaged_message_is_rejected(cut in 0_usize..30, garbage in prop::collection::vec(any::<u8>(), 1..30)) {
            let whole = gzip(b"a reading of the cellar");
            prop_assert_eq!(gunzip(&whole[..cut.min(whole.len() - 1)], 100), Err(GunzipError::NotGzip));
            prop_assert_eq!(gunzip(&[&whole[..], &garbage].concat(), 100), Err(GunzipError::NotGzip));
        }
    }

    #[test]
    fn bomb_is_decompressed_to_the_limit_only() {
        let bomb = gzip(&vec![0; 64 << 20]);
        assert!(bomb.len() < 70_000, "{}", bomb.len());
        assert_eq!(gunzip(&bomb, 65_536), Err(GunzipError::InflatesBeyond(65_536)));
    }

    #[test]
    fn encoding_is_read_from_the_headers() {
        let of = |value: Option<&'static str>| {
            let value =
                value.map(|value| ("grpc-encoding".parse().unwrap(), HeaderValue::from_static(value)));
            Encoding::of(&value.into_iter().collect()).map_err(|status| status.code())
        };
        assert_eq!(of(None), Ok(Encoding::Identity));
        assert_eq!(of(Some("identity")), Ok(Encoding::Identity));
        assert_eq!(of(Some("gzip")), Ok(Encoding::Gzip));
        for unknown in ["deflate", "zstd", "GZIP", ""] {
            assert_eq!(of(Some(unknown)), Err(tonic::Code::Unimplemented), "{unknown}");
        }
    }
}
