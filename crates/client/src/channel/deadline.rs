//! Deadlines: the time left is sent to the server in `grpc-timeout`, and enforced here too.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderValue, Request, Response};
use http_body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until, timeout_at};
use tonic::{Status, body::Body};
use tower::Service;

/// When a call must be over, including its retries and its whole response. Travels as an extension of the request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline(Instant);

impl Deadline {
    pub(crate) fn after(time: Duration) -> Self {
        Self(Instant::now() + time)
    }

    /// Sets it on `request`, for the layers below and for the server.
    pub(crate) fn set_on<T>(self, request: &mut tonic::Request<T>) {
        request.set_timeout(self.remaining());
        request.extensions_mut().insert(self);
    }

    pub(super) fn remaining(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    /// As `grpc-timeout` has it: at most eight digits, then the unit.
    pub(super) fn header_value(self) -> HeaderValue {
        let milliseconds = self.remaining().as_millis();
        let text = if milliseconds < 100_000_000 {
            format!("{milliseconds}m")
        } else {
            format!("{}S", (milliseconds / 1000).min(99_999_999))
        };
        HeaderValue::try_from(text).expect("digits and a letter")
    }
}

/// Fails each call that exceeds its [`Deadline`].
#[derive(Debug, Clone)]
pub(super) struct EnforceDeadline<S>(pub(super) S);

impl<S> Service<Request<Body>> for EnforceDeadline<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send + 'static>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let Some(deadline) = request.extensions().get::<Deadline>().copied() else {
            return Box::pin(self.0.call(request));
        };
        let response = timeout_at(deadline.0, self.0.call(request));
        Box::pin(async move {
            let Ok(Ok(response)) = response.await else { return Ok(deadline_exceeded().into_http()) };
            Ok(response
                .map(|inner| Body::new(DeadlineBody { inner, deadline: Box::pin(sleep_until(deadline.0)) })))
        })
    }
}

fn deadline_exceeded() -> Status {
    Status::deadline_exceeded("the deadline passed before the server responded")
}

struct DeadlineBody {
    inner: Body,
    deadline: Pin<Box<Sleep>>,
}

impl http_body::Body for DeadlineBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.inner).poll_frame(cx) {
            return Poll::Ready(frame);
        }
        self.deadline.as_mut().poll(cx).map(|()| Some(Err(deadline_exceeded())))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn header_has_at_most_eight_digits() {
        assert_eq!(Deadline::after(Duration::from_millis(1500)).header_value(), "1500m");
        assert_eq!(Deadline::after(Duration::from_secs(100_000)).header_value(), "100000S");
        assert_eq!(Deadline::after(Duration::ZERO).header_value(), "0m");
    }
}
