//! What every kind of client has: the channel, the readings to send, and how calls are begun.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tonic::{Request, Status};

use crate::{
    Config,
    backoff::jitter,
    channel::{Channel, Client, Deadline, Repeatable},
    metrics::Metrics,
    outbox::Outbox,
    progress::{Progress, is_refusal},
    verdict::Verdict,
};

/// How often the token is compared with the one that was refused.
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
    pub(crate) async fn recover(&self, status: &Status) {
        let wait = tokio::time::sleep(self.progress.record_failure(status));
        if is_refusal(status) {
            tokio::select! {
                () = wait => {}
                () = self.channel.token_changed(TOKEN_INTERVAL) => {}
            }
        } else {
            wait.await;
        }
    }

    /// Takes from the outbox what the server has stored or will not have, as `status` says. It is no failure where
    /// only readings were at fault: the next call goes on behind them.
    pub(crate) fn settle(&self, status: Status) -> Result<(), Status> {
        let verdict = Verdict::of(&status, self.outbox.in_flight());
        self.outbox.acknowledge(verdict.stored);
        self.outbox.reject(verdict.unwanted, status.message());
        if verdict.unwanted > 0 { Ok(()) } else { Err(status) }
    }

    pub(crate) fn client(&self) -> Client {
        self.channel.client()
    }

    /// A call of one message that does no harm when it comes twice, to be over within `length` and the deadline.
    pub(crate) fn repeatable<T>(&self, message: T, length: Duration) -> Request<T> {
        let mut request = self.stream(message, length);
        request.extensions_mut().insert(Repeatable);
        request
    }

    /// A stream that we end after `length`, to be over within the deadline after that.
    pub(crate) fn stream<T>(&self, messages: T, length: Duration) -> Request<T> {
        let mut request = Request::new(messages);
        Deadline::after(length + self.config.deadline).put(&mut request);
        request
    }

    /// How long the next stream shall be; not all clients end theirs at the same moment.
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

    /// The random wait from one reading to the next.
    pub(crate) fn interval(&self) -> Duration {
        let Config { interval_min, interval_max, .. } = self.config;
        interval_min + interval_max.saturating_sub(interval_min).mul_f64(fastrand::f64())
    }
}
