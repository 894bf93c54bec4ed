use std::time::{Duration, SystemTime};

/// Returns the Unix time; a clock that stands before 1970 reads as 0.
#[must_use]
pub fn unix_time() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

/// Returns the Unix time in seconds; a clock that stands before 1970 reads as 0.
#[must_use]
pub fn unix_now() -> i64 {
    i64::try_from(unix_time().as_secs()).unwrap_or(i64::MAX)
}
