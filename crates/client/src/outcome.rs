//! The outcome of the readings of a failed call, read from its status: stored, rejected, or to be sent again.

use tonic::{Code, Status};
use tonic_types::StatusExt as _;

/// The outcome of the readings of a failed call, in the order in which they were sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// The number at the beginning that are stored.
    pub(crate) stored: usize,
    /// The number after those that the server rejects for good. The rest is to be sent again.
    pub(crate) rejected: usize,
}

impl Outcome {
    /// Reads `status`, with which a call of `sent` readings ended.
    pub(crate) fn from_status(status: &Status, sent: usize) -> Self {
        let details = status.get_error_details();
        let number = |name| details.error_info()?.metadata.get(name)?.parse::<usize>().ok();
        let stored = number("stored").unwrap_or(0).min(sent);
        // RESOURCE_EXHAUSTED is permanent only for the store's limits (with a QuotaFailure), not for the connection's.
        let rejected = match status.code() {
            Code::InvalidArgument => true,
            Code::ResourceExhausted => details.quota_failure().is_some(),
            _ => false,
        };
        let rejected = match (rejected, number("index")) {
            (false, _) => 0,
            (true, Some(_)) => 1,
            // A server that does not name the invalid one would reject them all again.
            (true, None) => sent,
        };
        Self { stored, rejected: rejected.min(sent - stored) }
    }
}

#[cfg(test)]
mod tests {
    use tonic_types::ErrorDetails;

    use super::*;

    fn at(index: &str, stored: &str) -> ErrorDetails {
        let metadata =
            [("index", index), ("stored", stored)].map(|(name, value)| (name.to_owned(), value.to_owned()));
        ErrorDetails::with_error_info("INVALID_READING", "kelvin", metadata)
    }

    #[test]
    fn invalid_reading_is_dropped_and_rest_resent() {
        let status = Status::with_error_details(Code::InvalidArgument, "reading 4", at("4", "4"));
        assert_eq!(Outcome::from_status(&status, 9), Outcome { stored: 4, rejected: 1 });
    }

    #[test]
    fn unstored_readings_are_resent_after_outage() {
        let status = Status::with_error_details(Code::Unavailable, "away", at("", "3"));
        assert_eq!(Outcome::from_status(&status, 9), Outcome { stored: 3, rejected: 0 });
        assert_eq!(Outcome::from_status(&Status::unavailable("gone"), 9), Outcome { stored: 0, rejected: 0 });
    }

    #[test]
    fn full_store_differs_from_full_connection() {
        let quota = ErrorDetails::with_quota_failure_violation("full", "full");
        let status = Status::with_error_details(Code::ResourceExhausted, "full", quota);
        assert_eq!(Outcome::from_status(&status, 1), Outcome { stored: 0, rejected: 1 });
        assert_eq!(
            Outcome::from_status(&Status::resource_exhausted("calm"), 1),
            Outcome { stored: 0, rejected: 0 }
        );
    }

    #[test]
    fn stored_count_is_capped_at_sent() {
        let status = Status::with_error_details(Code::InvalidArgument, "reading 4", at("4", "400"));
        assert_eq!(Outcome::from_status(&status, 9), Outcome { stored: 9, rejected: 0 });
        assert_eq!(
            Outcome::from_status(&Status::invalid_argument("bad"), 9),
            Outcome { stored: 0, rejected: 9 }
        );
    }
}
