//! Looking for few names among few headers.

use http::{HeaderMap, HeaderName, HeaderValue};

/// The header of that name. A request has about ten headers and trailers have two: comparing them all, mostly by their
/// length, is quicker than hashing the name.
#[inline]
pub(crate) fn find<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    headers.iter().find_map(|(known, value)| (known == name).then_some(value))
}
