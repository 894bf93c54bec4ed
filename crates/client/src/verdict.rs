//! What a status says of the readings that were sent: stored, not wanted, or to be sent again.

use tonic::{Code, Status};
use tonic_types::StatusExt as _;

/// What became of the readings of a call that failed, in the order in which they were sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// So many at the beginning are stored.
    pub(crate) stored: usize,
    /// So many after those will never be. The rest is to be sent again.
    pub(crate) unwanted: usize,
}

impl Verdict {
    /// Reads `status`, with which a call of `sent` readings ended.
    pub(crate) fn of(status: &Status, sent: usize) -> Self {
        let details = status.get_error_details();
        let number = |name| details.error_info()?.metadata.get(name)?.parse::<usize>().ok();
        let stored = number("stored").unwrap_or(0).min(sent);
        // RESOURCE_EXHAUSTED is for good only where the store's room is meant, not the connection's limits.
        let unwanted = match status.code() {
            Code::InvalidArgument => true,
            Code::ResourceExhausted => details.quota_failure().is_some(),
            _ => false,
        };
        let unwanted = match (unwanted, number("index")) {
            (false, _) => 0,
            (true, Some(_)) => 1,
            // A server that does not say which one would refuse them again.
            (true, None) => sent,
        };
        Self { stored, unwanted: unwanted.min(sent - stored) }
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
    fn the_bad_reading_is_left_out_and_the_rest_sent_again() {
        let status = Status::with_error_details(Code::InvalidArgument, "reading 4", at("4", "4"));
        assert_eq!(Verdict::of(&status, 9), Verdict { stored: 4, unwanted: 1 });
    }

    #[test]
    fn a_server_that_was_away_gets_what_it_has_not_stored() {
        let status = Status::with_error_details(Code::Unavailable, "away", at("", "3"));
        assert_eq!(Verdict::of(&status, 9), Verdict { stored: 3, unwanted: 0 });
        assert_eq!(Verdict::of(&Status::unavailable("gone"), 9), Verdict { stored: 0, unwanted: 0 });
    }

    #[test]
    fn a_full_store_is_not_a_full_connection() {
        let quota = ErrorDetails::with_quota_failure_violation("full", "full");
        let status = Status::with_error_details(Code::ResourceExhausted, "full", quota);
        assert_eq!(Verdict::of(&status, 1), Verdict { stored: 0, unwanted: 1 });
        assert_eq!(Verdict::of(&Status::resource_exhausted("calm"), 1), Verdict { stored: 0, unwanted: 0 });
    }

    #[test]
    fn a_server_cannot_have_stored_more_than_was_sent() {
        let status = Status::with_error_details(Code::InvalidArgument, "reading 4", at("4", "400"));
        assert_eq!(Verdict::of(&status, 9), Verdict { stored: 9, unwanted: 0 });
        assert_eq!(Verdict::of(&Status::invalid_argument("bad"), 9), Verdict { stored: 0, unwanted: 9 });
    }
}
