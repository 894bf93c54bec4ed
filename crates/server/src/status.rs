//! Maps the failures of a call to its status.

use std::{
    collections::HashMap,
    fmt::{self, Write as _},
    time::Duration,
};

use kelvin_store::{RejectReason, StoreError};
use opentelemetry::{Context, trace::TraceContextExt as _};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::{end_reason::EndReason, log_rate_limiter::LogRateLimiter, validate::Invalid};

/// The retry delay for callers while the store is unavailable.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The message of a call that fails because of an error in the server.
const INTERNAL: &str = "internal error; see the server log";

static PANIC_LOG: LogRateLimiter = LogRateLimiter::new();

/// The domain of our `google.rpc.ErrorInfo` details.
const DOMAIN: &str = "kelvin";

/// The message of calls on a connection whose client certificate is no longer accepted.
pub(crate) const CERTIFICATE_REJECTED: &str =
    "the client certificate has expired or its CA is no longer trusted; connect with another one";

/// The position in its stream of a reading that ends the stream.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ReadingPosition {
    /// Counted from 0.
    pub(crate) index: u64,
    /// Readings of the call that are stored.
    pub(crate) stored: u64,
}

/// Returns the status for an invalid field in the message of a unary call.
pub(crate) fn invalid(invalid: Invalid) -> Status {
    let text = invalid.to_string();
    let details = ErrorDetails::with_bad_request_violation(invalid.field(), &text);
    Status::with_error_details(Code::InvalidArgument, text, details)
}

/// Returns the status for an invalid field in a message of a stream.
pub(crate) fn invalid_in_stream(invalid: Invalid, at: ReadingPosition) -> Status {
    let text = invalid.to_string();
    let mut details = ErrorDetails::with_bad_request_violation(invalid.field(), &text);
    details.set_error_info("INVALID_READING", DOMAIN, at.metadata());
    Status::with_error_details(Code::InvalidArgument, format!("{at}: {text}"), details)
}

/// Returns the status for the rejected reading of a unary call.
pub(crate) fn refused(reason: RejectReason) -> Status {
    let text = reject_text(reason);
    let details = ErrorDetails::with_quota_failure_violation(reason.as_str(), text);
    Status::with_error_details(Code::ResourceExhausted, text, details)
}

/// Returns the status for a rejected reading of a stream.
pub(crate) fn refused_in_stream(reason: RejectReason, at: ReadingPosition) -> Status {
    let text = reject_text(reason);
    let mut details = ErrorDetails::with_quota_failure_violation(reason.as_str(), text);
    details.set_error_info("REJECTED_READING", DOMAIN, at.metadata());
    Status::with_error_details(Code::ResourceExhausted, format!("{at}: {text}"), details)
}

/// Returns the message for a valid reading that is not stored.
pub(crate) fn reject_text(reason: RejectReason) -> &'static str {
    match reason {
        RejectReason::TooManySensors => "sensor limit reached (KELVIN_MAX_SENSORS)",
        RejectReason::Full => {
            "store limit reached, and the sensor has no older readings to evict (KELVIN_MAX_READINGS, KELVIN_STORE_MEMORY_LIMIT)"
        }
    }
}

/// Maps a store error to a status. `stored` is the number of readings of the call that are known to be stored; `None` for a
/// call that stores none.
pub(crate) fn store_error(error: &StoreError, stored: Option<u64>) -> Status {
    match error {
        StoreError::Unavailable(_) => {
            // Callers do not receive the error, which contains hosts, users and replies of Valkey. The store logs it.
            Context::current().span().record_error(error);
            let mut details = ErrorDetails::with_retry_info(Some(RETRY_AFTER));
            if let Some(stored) = stored {
                details.set_error_info("STORE_UNAVAILABLE", DOMAIN, stored_metadata(stored));
            }
            let mut text = "the store is unavailable".to_owned();
            if let Some(stored) = stored {
                let _ = write!(text, "; {}", stored_summary(stored));
            }
            Status::with_error_details(Code::Unavailable, text, details)
        }
        StoreError::PageToken => {
            let details = ErrorDetails::with_bad_request_violation("page_token", error.to_string());
            Status::with_error_details(Code::InvalidArgument, error.to_string(), details)
        }
        StoreError::TooManyWindows => {
            let details = ErrorDetails::with_bad_request_violation("step", error.to_string());
            Status::with_error_details(Code::InvalidArgument, error.to_string(), details)
        }
        StoreError::Settings(_) => Status::internal(INTERNAL), // only when a store is opened
    }
}

/// Returns the status of a call that was ended for `reason`, with `stored` as in [`store_error`].
pub(crate) fn ended(reason: EndReason, stored: Option<u64>) -> Status {
    let (code, text) = match reason {
        EndReason::Deadline => (Code::DeadlineExceeded, "the deadline of the call has passed"),
        EndReason::Age => (
            Code::Unavailable,
            "the call has reached its maximum age (KELVIN_MAX_STREAM_AGE); start a new one",
        ),
        EndReason::Drain => (Code::Unavailable, "the server is shutting down"),
        EndReason::TokenRemoved => {
            (Code::Unauthenticated, "the token of this call was removed from the server; send another one")
        }
        EndReason::CertificateRejected => (Code::Unauthenticated, CERTIFICATE_REJECTED),
    };
    match stored {
        Some(stored) => {
            let details = ErrorDetails::with_error_info("CALL_ENDED", DOMAIN, stored_metadata(stored));
            Status::with_error_details(code, format!("{text}; {}", stored_summary(stored)), details)
        }
        None => Status::new(code, text),
    }
}

/// Returns the status of a call whose handler panicked.
pub(crate) fn panicked() -> Status {
    // The panic itself is already logged.
    if let Some(calls) = PANIC_LOG.record() {
        tracing::error!(calls, "handler panicked; its call fails with INTERNAL");
    }
    Status::internal(INTERNAL)
}

/// Returns the metadata with the number of stored readings, after which a client sends the rest again.
fn stored_metadata(stored: u64) -> HashMap<String, String> {
    [("stored".to_owned(), stored.to_string())].into()
}

/// Returns `status` with the number of stored readings appended to its message.
pub(crate) fn with_stored(status: &Status, stored: u64) -> Status {
    Status::with_metadata(
        status.code(),
        format!("{}; {}", status.message(), stored_summary(stored)),
        status.metadata().clone(),
    )
}

/// Returns a text with the number of stored readings of a call.
pub(crate) fn stored_summary(stored: u64) -> String {
    match stored {
        1 => "1 reading of this call is stored".to_owned(),
        stored => format!("{stored} readings of this call are stored"),
    }
}

impl ReadingPosition {
    fn metadata(self) -> HashMap<String, String> {
        let pairs = [("index", self.index), ("stored", self.stored)];
        pairs.map(|(name, value)| (name.to_owned(), value.to_string())).into()
    }
}

impl fmt::Display for ReadingPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "reading {} is not stored ({})", self.index, stored_summary(self.stored))
    }
}
