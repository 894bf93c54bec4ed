//! Looking for few names among few headers.

use http::{HeaderMap, HeaderName, HeaderValue, header::CONTENT_TYPE};

/// The header of that name. A request has about ten headers and trailers have two: comparing them all, mostly by their
/// length, is quicker than hashing the name.
#[inline]
pub(crate) fn find<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    headers.iter().find_map(|(known, value)| (known == name).then_some(value))
}

/// Whether a request is one of gRPC: a server may serve HTTP's others beside.
pub(crate) fn are_grpc(headers: &HeaderMap) -> bool {
    const GRPC: &[u8] = b"application/grpc";
    find(headers, &CONTENT_TYPE)
        .and_then(|value| value.as_bytes().get(..GRPC.len()))
        .is_some_and(|start| start.eq_ignore_ascii_case(GRPC))
}
