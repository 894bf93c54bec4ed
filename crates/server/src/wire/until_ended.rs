use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame};
use tonic::Status;

use super::trailers::trailers;
use crate::{lifetime::Lifetime, status};

/// A response body that ends with a status when its call has to end.
#[derive(Debug)]
pub(crate) struct UntilEnded<B> {
    body: Option<B>,
    lifetime: Lifetime,
}

impl<B> UntilEnded<B> {
    pub(crate) fn new(body: B, lifetime: Lifetime) -> Self {
        Self { body: Some(body), lifetime }
    }
}

impl<B: Body<Data = Bytes, Error = Status> + Unpin> Body for UntilEnded<B> {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        if let Poll::Ready(frame) = Pin::new(body).poll_frame(cx) {
            return Poll::Ready(frame);
        }
        self.lifetime.poll_ended(cx).map(|reason| {
            self.body = None;
            Some(Ok(Frame::trailers(trailers(&status::ended(reason, None)))))
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }
}
