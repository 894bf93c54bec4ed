use std::time::SystemTime;

/// Returns the Unix time in seconds; a clock that stands before 1970 reads as 0.
#[must_use]
pub fn unix_now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
