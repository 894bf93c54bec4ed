//! Deadlines that count.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::time::Sleep;
use tonic::{Code, Status};
use tower_layer::Layer;
use tower_service::Service;

use crate::{
    BoxError,
    timeout::{self, MalformedTimeout},
};

/// Answers `DEADLINE_EXCEEDED` when a call's time is up: what the caller's `grpc-timeout` allows,
/// but never more than a limit of the server's own. It goes inside of
/// [`ServerLayer`](crate::ServerLayer), so that the answer is counted.
///
/// A call whose `grpc-timeout` is malformed is answered with `INVALID_ARGUMENT`.
///
/// tonic's own time limits stand outside of all layers, end with the response's headers, and
/// answer CANCELLED. This one holds for the whole of a stream, whose end it turns into trailers.
#[derive(Clone, Debug, Default)]
pub struct DeadlineLayer {
    limit: Option<Duration>,
}

impl DeadlineLayer {
    /// Creates a layer with the callers' own limits alone.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Creates a layer in which no call takes longer than `limit`, whatever its caller allows.
    #[must_use]
    pub fn with_limit(limit: Duration) -> Self {
        Self { limit: Some(limit) }
    }
}

impl<S> Layer<S> for DeadlineLayer {
    type Service = DeadlineService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        DeadlineService { inner, limit: self.limit }
    }
}

/// A service whose calls end in time.
#[derive(Clone, Debug)]
pub struct DeadlineService<S> {
    inner: S,
    limit: Option<Duration>,
}

impl<S, B, R> Service<Request<B>> for DeadlineService<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: Body<Data = Bytes>,
{
    type Response = Response<DeadlineBody<R>>;
    type Error = S::Error;
    type Future = DeadlineFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let Ok(timeout) = timeout::from_headers(request.headers()) else {
            return DeadlineFuture { inner: None, expiry: None };
        };
        let allowed = timeout.into_iter().chain(self.limit).min();
        let expiry = allowed.map(|allowed| Box::pin(tokio::time::sleep(allowed)));
        DeadlineFuture { inner: Some(self.inner.call(request)), expiry }
    }
}

pin_project! {
    /// The response on its way, if it comes in time.
    pub struct DeadlineFuture<F> {
        // None for a call with a malformed timeout.
        #[pin]
        inner: Option<F>,
        expiry: Option<Pin<Box<Sleep>>>,
    }
}

impl<F, B, E> Future for DeadlineFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = Result<Response<DeadlineBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let Some(inner) = this.inner.as_pin_mut() else {
            return Poll::Ready(Ok(Status::from(MalformedTimeout).into_http()));
        };
        if let Poll::Ready(result) = inner.poll(cx) {
            let expiry = this.expiry.take();
            return Poll::Ready(
                result.map(|response| response.map(|body| DeadlineBody { inner: Some(body), expiry })),
            );
        }
        if let Some(expiry) = this.expiry {
            ready!(expiry.as_mut().poll(cx));
            return Poll::Ready(Ok(exceeded().into_http()));
        }
        Poll::Pending
    }
}

pin_project! {
    /// A body that ends with `DEADLINE_EXCEEDED` if it does not end in time.
    pub struct DeadlineBody<B> {
        // None after the deadline.
        #[pin]
        inner: Option<B>,
        expiry: Option<Pin<Box<Sleep>>>,
    }
}

impl<B> Default for DeadlineBody<B> {
    fn default() -> Self {
        Self { inner: None, expiry: None }
    }
}

impl<B> Body for DeadlineBody<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let mut this = self.project();
        let Some(inner) = this.inner.as_mut().as_pin_mut() else { return Poll::Ready(None) };
        // A source that is always ready must not outrun the clock.
        if let Some(expiry) = this.expiry
            && expiry.as_mut().poll(cx).is_ready()
        {
            this.inner.set(None);
            let mut trailers = HeaderMap::new();
            return Poll::Ready(Some(match exceeded().add_header(&mut trailers) {
                Ok(()) => Ok(Frame::trailers(trailers)),
                Err(status) => Err(status.into()),
            }));
        }
        inner.poll_frame(cx).map_err(Into::into)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

fn exceeded() -> Status {
    Status::new(Code::DeadlineExceeded, "the deadline of the call has passed")
}
