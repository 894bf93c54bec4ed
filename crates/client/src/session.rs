//! The state that every kind of client shares: the channel and the readings to send.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tonic::{Request, Status};

use crate::{
    Config,
    backoff::jitter,
    channel::{Channel, Client, Deadline, Retryable},
    metrics::Metrics,
    outbox::Outbox,
    outcome::Outcome,
    progress::{Progress, is_auth_error},
};

/// The interval at which the token is compared with the rejected one.
const TOKEN_INTERVAL: Duration = Duration::from_secs(1);

/// One running client.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) config: Config,
    pub(crate) channel: Channel,
    pub(crate) outbox: Outbox,
    pub(crate) metrics: Metrics,
    pub(crate) progress: Progress,
    /// Cancelled at the end: nothing new is begun but what delivers the outbox.
    pub(crate) closing: CancellationToken,
}

impl Session {
    /// Waits until the next call after a failed one.
    pub(crate) async fn back_off(&self, status: &Status) {
        let wait = tokio::time::sleep(self.progress.record_failure(status));
        if is_auth_error(status) {
            tokio::select! {
                () = wait => {}
                () = self.channel.token_changed(TOKEN_INTERVAL) => {}
            }
        } else {
            wait.await;
        }
    }

    /// Removes from the outbox the readings that the server has stored or rejected according to `status`. Rejected readings
    /// are no failure of the call: the next one continues after them.
    pub(crate) fn apply_outcome(&self, status: Status) -> Result<(), Status> {
        let outcome = Outcome::from_status(&status, self.outbox.in_flight());
        self.outbox.acknowledge(outcome.stored);
        self.outbox.reject(outcome.rejected, status.message());
        if outcome.rejected > 0 { Ok(()) } else { Err(status) }
    }

    pub(crate) fn client(&self) -> Client {
        self.channel.client()
    }

    /// Returns a request of one message that may be retried, to be over within `length` and the deadline.
    pub(crate) fn retryable_request<T>(&self, message: T, length: Duration) -> Request<T> {
        let mut request = self.stream_request(message, length);
        request.extensions_mut().insert(Retryable);
        request
    }

    /// Returns a request whose stream we end after `length`, to be over within the deadline after that.
    pub(crate) fn stream_request<T>(&self, messages: T, length: Duration) -> Request<T> {
        let mut request = Request::new(messages);
        Deadline::after(length + self.config.deadline).set_on(&mut request);
        request
    }

    /// Returns how long the next stream stays open, with jitter, so that clients do not reconnect at the same moment.
    pub(crate) fn stream_duration(&self) -> Duration {
        jitter(self.config.stream_duration)
    }

    /// Waits until a stream should end: after `length`, or when its server is about to go and there is another.
    pub(crate) fn stream_end(&self, length: Duration) -> impl Future<Output = ()> + Send + use<> {
        let channel = self.channel.clone();
        async move {
            let _ = tokio::time::timeout(length, channel.handed_over()).await;
        }
    }

    /// Returns the random wait from one reading to the next.
    pub(crate) fn interval(&self) -> Duration {
        let Config { interval_min, interval_max, .. } = self.config;
        interval_min + interval_max.saturating_sub(interval_min).mul_f64(fastrand::f64())
    }
}
