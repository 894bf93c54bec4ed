use http::{HeaderMap, HeaderValue};
use tonic::Status;

/// The trailers that end a stream.
pub(crate) fn trailers(status: &Status) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    if let Err(status) = status.add_header(&mut trailers) {
        trailers.insert("grpc-status", HeaderValue::from(status.code() as i32));
    }
    trailers
}
