//! Bodies that count the messages that pass.

use std::{
    fmt::Display,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::StatusCode;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::{
    call::{Call, Guard, Meter},
    side::Direction,
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
        let polled = this.inner.poll_frame(cx);
        if let (Some(call), Poll::Ready(Some(Ok(frame)))) = (this.call, &polled)
            && let Some(data) = frame.data_ref()
        {
            this.meter.data(call, data);
        }
        polled
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
    pub struct ResponseBody<B: Body> {
        #[pin]
        inner: B,
        guard: Guard,
        meter: Meter,
        http: StatusCode,
    }

    impl<B: Body> PinnedDrop for ResponseBody<B> {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            // Who reads the body may know by `is_end_stream` that nothing follows, and not ask for it.
            if this.guard.call().is_some() && this.inner.is_end_stream() {
                this.guard.end_by_http(*this.http);
            }
        }
    }
}

impl<B: Body> ResponseBody<B> {
    pub(crate) fn new(inner: B, guard: Guard, http: StatusCode) -> Self {
        Self { inner, guard, meter: Meter::new(Direction::Response), http }
    }
}

/// An empty body of no call, which tonic's generated `with_interceptor` asks for.
impl<B: Body + Default> Default for ResponseBody<B> {
    fn default() -> Self {
        Self::new(B::default(), Guard::new(None), StatusCode::OK)
    }
}

impl<B> Body for ResponseBody<B>
where
    B: Body,
    B::Error: Display + 'static,
{
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let this = self.project();
        if this.guard.call().is_none() {
            return this.inner.poll_frame(cx);
        }
        let mut polled = {
            #[cfg(feature = "trace")]
            let _current = this.guard.attach_to_stream();
            this.inner.poll_frame(cx)
        };
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(trailers) = frame.trailers_ref() {
                    this.guard.end_by_headers(trailers);
                } else if let (Some(call), Some(data)) = (this.guard.call(), frame.data_ref()) {
                    this.meter.data(call, data);
                }
            }
            Poll::Ready(None) => this.guard.end_by_http(*this.http),
            Poll::Ready(Some(Err(_))) => polled = polled.map_err(|error| this.guard.end_by_error(error)),
            Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
