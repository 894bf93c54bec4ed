//! Looking for few names among few headers.

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, header::CONTENT_TYPE};

/// The header of that name. A request has about ten headers and trailers have two: comparing them all, mostly by their
/// length, is quicker than hashing the name.
#[inline]
pub(crate) fn find<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    headers.iter().find_map(|(known, value)| (known == name).then_some(value))
}

/// Whether a request is a gRPC call ([PROTOCOL-HTTP2]): a server may serve plain HTTP and gRPC-Web beside it.
///
/// [PROTOCOL-HTTP2]: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md
pub(crate) fn is_grpc<B>(request: &Request<B>) -> bool {
    const GRPC: &[u8] = b"application/grpc";
    request.method() == Method::POST
        && find(request.headers(), &CONTENT_TYPE)
            .and_then(|value| value.as_bytes().split_at_checked(GRPC.len()))
            .is_some_and(|(start, rest)| {
                start.eq_ignore_ascii_case(GRPC) && matches!(rest.first(), None | Some(b'+' | b';' | b' '))
            })
}
