use std::time::Duration;

use tokio::time::{sleep, timeout};

/// Longer than any condition takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until `condition` holds.
///
/// # Panics
///
/// After 30 seconds, with `what` in the message.
pub async fn eventually(what: &str, condition: impl AsyncFn() -> bool) {
    eventually_some(what, || async { condition().await.then_some(()) }).await;
}

/// Waits until `attempt` returns something, and returns that.
///
/// # Panics
///
/// After 30 seconds, with `what` in the message.
pub async fn eventually_some<T, F: Future<Output = Option<T>>>(
    what: &str,
    mut attempt: impl FnMut() -> F,
) -> T {
    let trying = async {
        loop {
            if let Some(found) = attempt().await {
                return found;
            }
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, trying).await.unwrap_or_else(|_| panic!("timed out waiting until {what}"))
}
