//! Looking for few names among few headers.

use http::{HeaderMap, HeaderName, HeaderValue, Method, header::CONTENT_TYPE};

/// The name of the header with the timeout of a call.
pub static GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// Finds a header by comparing names. A request has about ten headers and trailers have two: comparing them all, mostly
/// by their length, is quicker than hashing the name.
#[inline]
pub(crate) fn find<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    headers.iter().find_map(|(known, value)| (known == name).then_some(value))
}

/// The headers of a request that a server's layer reads, found in one pass.
#[derive(Default)]
pub(crate) struct Found<'a> {
    content_type: Option<&'a HeaderValue>,
    pub(crate) timeout: Option<&'a HeaderValue>,
    /// Whether there is one that a propagator reads.
    #[cfg(feature = "trace")]
    pub(crate) context: bool,
}

impl<'a> Found<'a> {
    #[cfg_attr(not(feature = "trace"), expect(unused_variables, reason = "only traces have propagators"))]
    pub(crate) fn among(headers: &'a HeaderMap, of_propagator: &[HeaderName]) -> Self {
        let mut found = Self::default();
        for (name, value) in headers {
            if *name == CONTENT_TYPE {
                found.content_type.get_or_insert(value);
            } else if *name == GRPC_TIMEOUT {
                found.timeout.get_or_insert(value);
            } else {
                #[cfg(feature = "trace")]
                {
                    found.context |= of_propagator.contains(name);
                }
            }
        }
        found
    }

    /// Returns whether a request with these headers is a gRPC call ([PROTOCOL-HTTP2]): a server may serve plain HTTP
    /// and gRPC-Web beside it.
    ///
    /// [PROTOCOL-HTTP2]: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md
    pub(crate) fn are_grpc(&self, method: &Method) -> bool {
        const GRPC: &[u8] = b"application/grpc";
        *method == Method::POST
            && self.content_type.and_then(|value| value.as_bytes().split_at_checked(GRPC.len())).is_some_and(
                |(start, rest)| {
                    start.eq_ignore_ascii_case(GRPC)
                        && matches!(rest.first(), None | Some(b'+' | b';' | b' '))
                },
            )
    }
}
