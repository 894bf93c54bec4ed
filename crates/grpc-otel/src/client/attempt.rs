//! Attempts at calls, as the channel sees them.

use std::{
    fmt::Display,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tower_layer::Layer;
use tower_service::Service;

use super::Attempts;
use crate::{
    BoxError, RequestBody, ResponseBody, ResponseFuture,
    builder::Shared,
    call::{Call, Guard},
    clock::Instant,
    recorder::{Recorders, Side},
    target::Target,
};

/// Records attempts. Made by [`GrpcOtel::client_attempt_layer`](crate::GrpcOtel::client_attempt_layer).
#[derive(Clone)]
pub struct ClientAttemptLayer(Arc<Recorders>);

impl ClientAttemptLayer {
    pub(crate) fn new(shared: &Arc<Shared>, target: Target) -> Self {
        Self(Arc::new(Recorders::client(shared, Side::Attempt, Some(target))))
    }
}

impl<S> Layer<S> for ClientAttemptLayer {
    type Service = ClientAttempt<S>;

    fn layer(&self, inner: S) -> Self::Service {
        ClientAttempt { inner, recorders: self.0.clone() }
    }
}

/// A channel whose attempts are recorded.
#[derive(Clone)]
pub struct ClientAttempt<S> {
    inner: S,
    recorders: Arc<Recorders>,
}

impl<S, B, R> Service<Request<B>> for ClientAttempt<S>
where
    S: Service<Request<tonic::body::Body>, Response = Response<R>>,
    S::Error: Display + 'static,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
    R: Body,
{
    type Response = Response<ResponseBody<R>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let call = start(&self.recorders, &mut request);
        let guard = Guard::new(call.clone());
        let request = request.map(|body| tonic::body::Body::new(RequestBody::new(body, call)));
        let response = self.inner.call(request);
        ResponseFuture::new(response, guard)
    }
}

fn start<B>(recorders: &Recorders, request: &mut Request<B>) -> Option<Arc<Call>> {
    let recorder = recorders.of_request(request)?;
    let started = Instant::now();
    let mut call = Call::new(recorder, started, request.headers());
    call.attempts = request.extensions_mut().remove::<Arc<Attempts>>();
    let previous = call.attempts.as_ref().map_or(0, |attempts| attempts.begin(started));
    #[cfg(not(feature = "trace"))]
    let _ = previous;
    #[cfg(feature = "trace")]
    {
        let recorder = &call.recorder;
        call.span =
            recorder.shared.tracing.attempt_span(&recorder.span, started, previous, request.headers_mut());
    }
    Some(call.begun())
}
