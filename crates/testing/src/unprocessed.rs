use std::error::Error as _;

use tonic::Status;

/// Returns true for a stream that the server refused or left out of its GOAWAY (RFC 9113, section 8.7), and for a call
/// that hyper still had in its queue when the connection ended: it reports those alone as canceled.
pub fn was_never_processed(status: &Status) -> bool {
    let mut source = status.source();
    while let Some(error) = source {
        if error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_canceled) {
            return true;
        }
        if let Some(error) = error.downcast_ref::<h2::Error>() {
            let refused = error.reason() == Some(h2::Reason::REFUSED_STREAM);
            return error.is_remote()
                && (refused || (error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR)));
        }
        source = error.source();
    }
    false
}
