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

use super::{Attempt, attempts_of::AttemptsOf};
use crate::{
    BoxError,
    attempts::TransparentRetry,
    body::{RequestBody, ResponseBody},
    call::{Call, Guard},
    clock::Instant,
    future::ResponseFuture,
    recorder::Recorders,
    shared::Shared,
    side::Side,
    target::Target,
    timeout,
};

/// Records attempts. Made by [`GrpcOtel::client_attempt_layer`](crate::GrpcOtel::client_attempt_layer).
#[derive(Clone)]
pub struct ClientAttemptLayer {
    recorders: Arc<Recorders>,
    /// Whether the layer of calls is directly outside.
    in_call: bool,
}

impl ClientAttemptLayer {
    pub(crate) fn new(shared: &Arc<Shared>, target: Target) -> Self {
        Self { recorders: Arc::new(Recorders::client(shared, Side::Attempt, Some(target))), in_call: false }
    }

    pub(super) fn directly_in_a_call(shared: &Arc<Shared>, target: Target) -> Self {
        Self { in_call: true, ..Self::new(shared, target) }
    }
}

impl<S> Layer<S> for ClientAttemptLayer {
    type Service = ClientAttempt<S>;

    fn layer(&self, inner: S) -> Self::Service {
        ClientAttempt { inner, layer: self.clone() }
    }
}

/// A channel whose attempts are recorded.
#[derive(Clone)]
pub struct ClientAttempt<S> {
    inner: S,
    layer: ClientAttemptLayer,
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
        let call = self.layer.start(&mut request);
        let guard = Guard::new(call.clone());
        let request = request.map(|body| tonic::body::Body::new(RequestBody::new(body, call)));
        let response = {
            #[cfg(feature = "trace")]
            let _current = guard.attach();
            self.inner.call(request)
        };
        ResponseFuture::new(response, guard)
    }
}

impl ClientAttemptLayer {
    fn start<B>(&self, request: &mut Request<B>) -> Option<Arc<Call>> {
        let recorder = self.recorders.of_request(request)?;
        let started = Instant::now();
        let attempts = AttemptsOf::find(request.extensions(), self.recorders.shared());
        let in_call = self.in_call || attempts.is_some();
        // Left there for the layer of another `GrpcOtel` inside.
        let transparent = request.extensions().get::<TransparentRetry>().is_some();
        let previous = attempts.as_ref().map_or(0, |attempts| attempts.begin(started, transparent));
        #[cfg(not(feature = "trace"))]
        let _ = (previous, in_call);
        #[cfg(feature = "trace")]
        let span = {
            let tracing = &recorder.shared.tracing;
            tracing.attempt_span(&recorder.span, started, (previous, transparent), request)
        };
        let call = Call::begin(
            recorder,
            started,
            request,
            timeout::from_headers(request.headers()).unwrap_or_default(),
            attempts,
            #[cfg(feature = "trace")]
            span,
        );
        let present = request.extensions_mut().remove();
        request.extensions_mut().insert(Attempt::new(
            call.clone(),
            present,
            #[cfg(feature = "trace")]
            in_call,
        ));
        Some(call)
    }
}
