use std::time::Duration;

use kelvin_app::Parse as _;

/// Parses a duration as settings write it: `250ms`, `20s`, `5m`.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    Duration::parse(text).ok_or_else(|| format!("expected {}", Duration::expected()))
}
