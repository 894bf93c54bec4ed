//! Polling: repeats an attempt until it succeeds or times out.

use std::time::Duration;

use anyhow::{Context, Result};
use tokio::time::{Instant, sleep, timeout_at};

/// Pause between two attempts.
const PAUSE: Duration = Duration::from_millis(500);

/// Repeats `attempt` until it succeeds, for at most `limit`.
///
/// At the limit it returns the error of the last attempt that ended.
pub async fn until<T>(limit: Duration, mut attempt: impl AsyncFnMut() -> Result<T>) -> Result<T> {
    let end = Instant::now() + limit;
    let mut last = None;
    loop {
        match timeout_at(end, attempt()).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) => last = Some(error),
            Err(_) => last = last.or_else(|| Some(anyhow::anyhow!("no response"))),
        }
        if Instant::now() + PAUSE >= end {
            let error = last.expect("there was an attempt");
            return Err(error).with_context(|| format!("timed out after {} s", limit.as_secs()));
        }
        sleep(PAUSE).await;
    }
}
