//! Bodies that count the messages that pass.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::StatusCode;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::{
    BoxError,
    call::{Call, Direction, Guard, Meter},
};

pin_project! {
    /// The body of a request, counted.
    pub struct RequestBody<B> {
        #[pin]
        inner: B,
        call: Option<Arc<Call>>,
        meter: Meter,
    }
}

impl<B> RequestBody<B> {
    pub(crate) fn new(inner: B, call: Option<Arc<Call>>) -> Self {
        Self { inner, call, meter: Meter::new(Direction::Request) }
    }
}

impl<B: Body> Body for RequestBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let this = self.project();
        let frame = ready!(this.inner.poll_frame(cx));
        if let (Some(call), Some(Ok(frame))) = (this.call, &frame)
            && let Some(data) = frame.data_ref()
        {
            this.meter.data(call, data);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

pin_project! {
    /// The body of a response, counted. Its trailers end the call; dropped before, the call is
    /// CANCELLED.
    pub struct ResponseBody<B> {
        #[pin]
        inner: B,
        guard: Guard,
        meter: Meter,
        http: StatusCode,
    }
}

impl<B: Body> ResponseBody<B> {
    pub(crate) fn new(inner: B, mut guard: Guard, http: StatusCode) -> Self {
        if inner.is_end_stream() {
            guard.end_by_http(http);
        }
        Self { inner, guard, meter: Meter::new(Direction::Response), http }
    }
}

impl<B> Body for ResponseBody<B>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    type Data = B::Data;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, BoxError>>> {
        let mut this = self.project();
        let frame = ready!(this.guard.stream(|| this.inner.as_mut().poll_frame(cx)));
        Poll::Ready(match frame {
            Some(Ok(frame)) => {
                if let Some(trailers) = frame.trailers_ref() {
                    this.guard.end_by_headers(trailers);
                } else if let (Some(call), Some(data)) = (this.guard.call(), frame.data_ref()) {
                    this.meter.data(call, data);
                }
                if this.inner.is_end_stream() {
                    this.guard.end_by_http(*this.http);
                }
                Some(Ok(frame))
            }
            Some(Err(error)) => Some(Err(this.guard.end_by_error(error.into()))),
            None => {
                this.guard.end_by_http(*this.http);
                None
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
