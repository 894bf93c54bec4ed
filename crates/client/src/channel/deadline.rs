//! Deadlines: each attempt tells the server, and grpc-otel's `DeadlineLayer` below, how much of the time is left.

use std::time::Duration;

use grpc_otel::timeout;
use http::{HeaderName, Request};
use tokio::time::Instant;
use tonic::body::Body;

const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// When a call must be over, including its retries and its whole response. Travels as an extension of the request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline(Instant);

impl Deadline {
    pub(crate) fn after(time: Duration) -> Self {
        Self(Instant::now() + time)
    }

    /// Sets it on `request`, for the layers below.
    pub(crate) fn set_on<T>(self, request: &mut tonic::Request<T>) {
        request.set_timeout(self.remaining());
        request.extensions_mut().insert(self);
    }

    pub(super) fn remaining(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }
}

/// Writes the time left into the header of an attempt.
pub(super) fn set_timeout(mut attempt: Request<Body>) -> Request<Body> {
    if let Some(deadline) = attempt.extensions().get::<Deadline>().copied() {
        attempt.headers_mut().insert(GRPC_TIMEOUT, timeout::to_header_value(deadline.remaining()));
    }
    attempt
}
