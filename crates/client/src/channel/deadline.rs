//! Deadlines: each attempt sends the remaining time to the server, and passes it to grpc-otel's `DeadlineLayer` below.

use std::time::Duration;

use grpc_otel::timeout::{self, GRPC_TIMEOUT};
use http::Request;
use tokio::time::Instant;
use tonic::body::Body;

/// When a call must be over, including its retries and its whole response. Travels as an extension of the request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline(Instant);

impl Deadline {
    pub(crate) fn after(time: Duration) -> Self {
        Self(Instant::now() + time)
    }

    /// Sets the deadline on `request`, for the layers below.
    pub(crate) fn set_on<T>(self, request: &mut tonic::Request<T>) {
        request.set_timeout(self.remaining());
        request.extensions_mut().insert(self);
    }

    pub(super) fn remaining(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }
}

/// Writes the remaining time into the header of an attempt.
pub(super) fn set_timeout(mut attempt: Request<Body>) -> Request<Body> {
    if let Some(deadline) = attempt.extensions().get::<Deadline>().copied() {
        attempt.headers_mut().insert(&GRPC_TIMEOUT, timeout::to_header_value(deadline.remaining()));
    }
    attempt
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_attempt_has_less_time_than_the_one_before() {
        let mut request = Request::new(Body::empty());
        request.extensions_mut().insert(Deadline::after(Duration::from_secs(10)));
        let written = |attempt: &Request<Body>| timeout::from_headers(attempt.headers());
        let first = set_timeout(request);
        assert_eq!(written(&first), Ok(Some(Duration::from_secs(10))));
        tokio::time::advance(Duration::from_secs(3)).await;
        assert_eq!(written(&set_timeout(first)), Ok(Some(Duration::from_secs(7))));
        assert_eq!(written(&set_timeout(Request::new(Body::empty()))), Ok(None));
    }
}
