//! Ends calls from outside: at their deadline or maximum age, when the server drains, or when credentials become invalid.
//!
//! | reason | known from | ends |
//! |---|---|---|
//! | `Deadline` | the `grpc-timeout` header | every call |
//! | `Age` | `KELVIN_MAX_STREAM_AGE`, give or take a tenth | every call |
//! | `Drain` | the server's shutdown | streams: calls of one request and one response end by themselves |
//! | `TokenRemoved` | a reload of the token file | calls of the removed token |
//! | `CertificateRejected` | the expiry of the client certificate, or a reload of the CA file | calls of that connection |
//!
//! Most unary calls are answered at their first poll. So nothing is registered with the timer or with a signal before a
//! call waits for the first time; only then is it `Armed`: with one timer, for the earlier of deadline and age, and with
//! the next signal. After arming, the reasons are checked once more, because a signal may have been given between
//! the start of the call and its registration.
//!
//! grpc-otel's `DeadlineLayer`, which the client uses, handles only the first reason; with it, each waiting call would need
//! a second timer, for its age.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use grpc_otel::timeout;
use http::HeaderMap;
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_util::sync::WaitForCancellationFutureOwned;
use tonic::Status;

use crate::{
    caller::{Caller, Credentials, Interrupts},
    end_reason::EndReason,
    log_rate_limiter::LogRateLimiter,
};

static REMOVED_LOG: LogRateLimiter = LogRateLimiter::new();

/// Limits the duration of a call. Timers are created when it waits for the first time.
#[derive(Debug)]
pub(crate) struct Lifetime {
    deadline: Option<Instant>,
    max_age: Duration,
    interrupts: Arc<Interrupts>,
    caller: Caller,
    /// False for calls that a drain lets end by themselves.
    ends_at_drain: bool,
    armed: Option<Pin<Box<Armed>>>,
}

#[derive(Debug)]
struct Armed {
    sleep: Pin<Box<Sleep>>,
    by: EndReason,
    signal: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl Lifetime {
    /// Reads the deadline from the headers of a call that begins now.
    pub(crate) fn new(
        headers: &HeaderMap,
        max_age: Duration,
        interrupts: &Arc<Interrupts>,
        caller: Caller,
        ends_at_drain: bool,
    ) -> Result<Self, Status> {
        let timeout = timeout::from_headers(headers)?;
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let interrupts = Arc::clone(interrupts);
        Ok(Self { deadline, max_age, interrupts, caller, ends_at_drain, armed: None })
    }

    /// Returns who makes the call.
    pub(crate) fn caller(&self) -> &Caller {
        &self.caller
    }

    pub(crate) fn credentials(&self) -> Credentials {
        Credentials { interrupts: Arc::clone(&self.interrupts), caller: self.caller.clone() }
    }

    /// Ready when the call has to end.
    pub(crate) fn poll_ended(&mut self, cx: &mut Context<'_>) -> Poll<EndReason> {
        let Self { interrupts, caller, ends_at_drain, armed, .. } = self;
        let armed = match armed {
            Some(armed) => armed,
            empty => {
                let armed = empty.insert(Box::pin(Armed::new(self.deadline, self.max_age, interrupts)));
                if let Some(reason) = interrupts.reason(caller, *ends_at_drain) {
                    return Poll::Ready(ended(reason, caller));
                }
                armed
            }
        };
        while armed.signal.as_mut().poll(cx).is_ready() {
            armed.signal = Box::pin(interrupts.next().cancelled_owned());
            if let Some(reason) = interrupts.reason(caller, *ends_at_drain) {
                return Poll::Ready(ended(reason, caller));
            }
        }
        armed.sleep.as_mut().poll(cx).map(|()| armed.by)
    }

    /// Runs `work` until it is done or the call has to end.
    pub(crate) async fn limit<T>(&mut self, work: impl Future<Output = T>) -> Result<T, EndReason> {
        let mut work = std::pin::pin!(work);
        poll_fn(|cx| match work.as_mut().poll(cx) {
            Poll::Ready(done) => Poll::Ready(Ok(done)),
            Poll::Pending => self.poll_ended(cx).map(Err),
        })
        .await
    }
}

impl Armed {
    fn new(deadline: Option<Instant>, max_age: Duration, interrupts: &Interrupts) -> Self {
        let end = Instant::now() + jittered(max_age);
        let (at, by) = match deadline {
            Some(deadline) if deadline < end => (deadline, EndReason::Deadline),
            _ => (end, EndReason::Age),
        };
        Self { sleep: Box::pin(sleep_until(at)), by, signal: Box::pin(interrupts.next().cancelled_owned()) }
    }
}

fn ended(reason: EndReason, caller: &Caller) -> EndReason {
    if reason == EndReason::TokenRemoved
        && let Some(calls) = REMOVED_LOG.record()
    {
        let last_caller = caller.name().map(tracing::field::display);
        tracing::info!(calls, last_caller, "calls ended because their token was removed");
    }
    reason
}

/// When a call that begins now has to end whatever happens, for those who cannot wait for its [`Lifetime`].
pub(crate) fn end_of_call(headers: &HeaderMap, max_age: Duration, now: Instant) -> Instant {
    let end = now + jittered(max_age);
    let timeout = timeout::from_headers(headers).unwrap_or_default();
    timeout.and_then(|timeout| now.checked_add(timeout)).map_or(end, |deadline| deadline.min(end))
}

/// `age` give or take a tenth, so that what began together does not end together.
pub(crate) fn jittered(age: Duration) -> Duration {
    age.mul_f64(0.9 + 0.2 * fastrand::f64())
}
