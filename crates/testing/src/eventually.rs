use std::{fmt::Debug, time::Duration};

use tokio::time::{sleep, timeout};

/// Longer than any condition takes on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Waits until `condition` holds.
///
/// # Panics
///
/// After 30 seconds, with `what` in the message.
pub async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    eventually_some(what, async || condition().await.then_some(())).await;
}

/// Waits until `attempt` returns something, and returns that.
///
/// # Panics
///
/// After 30 seconds, with `what` in the message.
pub async fn eventually_some<T>(what: &str, mut attempt: impl AsyncFnMut() -> Option<T>) -> T {
    let trying = async {
        loop {
            if let Some(found) = attempt().await {
                return found;
            }
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(TIMEOUT, trying).await.unwrap_or_else(|_| panic!("timed out waiting until {what}"))
}

/// Waits until `attempt` succeeds, and returns its value.
///
/// # Panics
///
/// After 30 seconds, with `what` and the last error in the message.
pub async fn eventually_ok<T, E: Debug>(what: &str, mut attempt: impl AsyncFnMut() -> Result<T, E>) -> T {
    let mut last = None;
    let trying = async {
        loop {
            match attempt().await {
                Ok(value) => return value,
                Err(error) => last = Some(error),
            }
            sleep(Duration::from_millis(5)).await;
        }
    };
    let value = timeout(TIMEOUT, trying).await;
    value.unwrap_or_else(|_| panic!("timed out waiting until {what}; last error: {last:?}"))
}

#[cfg(test)]
mod tests {
    use super::{eventually, eventually_ok};

    #[tokio::test]
    async fn condition_is_awaited() {
        let mut calls = 0;
        eventually("it is called three times", async || {
            calls += 1;
            calls == 3
        })
        .await;
        assert_eq!(calls, 3);
    }

    #[tokio::test]
    async fn first_success_is_returned() {
        let mut results = [Err("early"), Err("still early"), Ok(1), Ok(2)].into_iter();
        let value = eventually_ok("it succeeds", async || results.next().unwrap()).await;
        assert_eq!(value, 1);
    }

    #[tokio::test(start_paused = true)]
    #[should_panic(expected = "timed out waiting until it succeeds; last error: Some(\"no\")")]
    async fn timeout_reports_the_last_error() {
        eventually_ok("it succeeds", async || Err::<(), _>("no")).await;
    }
}
