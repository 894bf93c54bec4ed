//! The response on its way.

use std::{
    fmt::Display,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::Response;
use http_body::Body;
use pin_project_lite::pin_project;

use crate::{body::ResponseBody, call::Guard};

pin_project! {
    /// The future of a response. Dropped before the response is there, the call is CANCELLED, or
    /// DEADLINE_EXCEEDED if its time was up.
    pub struct ResponseFuture<F> {
        #[pin]
        inner: F,
        guard: Guard,
    }
}

impl<F> ResponseFuture<F> {
    pub(crate) fn new(inner: F, guard: Guard) -> Self {
        Self { inner, guard }
    }
}

impl<F, B, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body,
    E: Display + 'static,
{
    type Output = Result<Response<ResponseBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let result = {
            #[cfg(feature = "trace")]
            let _current = this.guard.attach();
            ready!(this.inner.poll(cx))
        };
        let mut guard = std::mem::replace(this.guard, Guard::new(None));
        Poll::Ready(match result {
            Ok(response) => {
                guard.end_by_headers(response.headers());
                let http = response.status();
                Ok(response.map(|body| ResponseBody::new(body, guard, http)))
            }
            Err(error) => Err(guard.end_by_error(error)),
        })
    }
}
