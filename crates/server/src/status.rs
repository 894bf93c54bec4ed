//! The status of a call that fails.

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

/// When to try again where the store cannot be reached.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The message of a call that fails by our fault.
const INTERNAL: &str = "internal error; see the server log";

static PANIC_LOG: LogRateLimiter = LogRateLimiter::new();

/// The domain of our `google.rpc.ErrorInfo` details.
const DOMAIN: &str = "kelvin";

/// The message of calls on a connection whose client certificate was accepted once.
pub(crate) const CERTIFICATE_REJECTED: &str =
    "the client certificate has expired or its CA is no longer trusted; connect with another one";

/// Where in a stream a reading is that ends it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ReadingPosition {
    /// Counted from 0.
    pub(crate) index: u64,
    /// Readings of the call that are stored.
    pub(crate) stored: u64,
}

/// A field of the only message is wrong.
pub(crate) fn invalid(invalid: Invalid) -> Status {
    let text = invalid.to_string();
    let details = ErrorDetails::with_bad_request_violation(invalid.field(), &text);
    Status::with_error_details(Code::InvalidArgument, text, details)
}

/// A field of a message within a stream is wrong.
pub(crate) fn invalid_in_stream(invalid: Invalid, at: ReadingPosition) -> Status {
    let text = invalid.to_string();
    let mut details = ErrorDetails::with_bad_request_violation(invalid.field(), &text);
    details.set_error_info("INVALID_READING", DOMAIN, at.metadata());
    Status::with_error_details(Code::InvalidArgument, format!("{at}: {text}"), details)
}

/// The store is full for the only reading.
pub(crate) fn refused(reason: RejectReason) -> Status {
    let text = reject_text(reason);
    let details = ErrorDetails::with_quota_failure_violation(reason.as_str(), text);
    Status::with_error_details(Code::ResourceExhausted, text, details)
}

/// The store is full for a reading within a stream.
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

/// The store could not do it; `stored` readings of the call are known to be stored, where it stores any.
pub(crate) fn store_error(error: &StoreError, stored: Option<u64>) -> Status {
    match error {
        StoreError::Unavailable(_) => {
            // Hosts, users and what Valkey answered are not for callers. The store logs them.
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
        StoreError::Settings(_) => Status::internal(INTERNAL), // of a store that is opened, not of a call
    }
}

/// The call was ended from outside after `stored` readings, where it stores any.
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
    // The panic itself is in the log already.
    if let Some(calls) = PANIC_LOG.record() {
        tracing::error!(calls, "handler panicked; its call fails with INTERNAL");
    }
    Status::internal(INTERNAL)
}

/// Returns the metadata with the number of stored readings, after which a client sends the rest again.
fn stored_metadata(stored: u64) -> HashMap<String, String> {
    [("stored".to_owned(), stored.to_string())].into()
}

/// `status` with how many readings are stored behind its text.
pub(crate) fn with_stored(status: &Status, stored: u64) -> Status {
    Status::with_metadata(
        status.code(),
        format!("{}; {}", status.message(), stored_summary(stored)),
        status.metadata().clone(),
    )
}

/// Says how many readings of a call are stored.
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
