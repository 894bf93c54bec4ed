//! Calls as the application sees them, whatever number of attempts they take.

use std::{
    fmt::Display,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response};
use http_body::Body;
use tower_layer::Layer;
use tower_service::Service;

use super::attempts_of::AttemptsOf;
use crate::{
    body::ResponseBody,
    call::{Call, Guard},
    clock::Instant,
    future::ResponseFuture,
    recorder::Recorders,
    shared::Shared,
    side::Side,
    target::Target,
    timeout,
};

/// Records calls. Made by [`GrpcOtel::client_call_layer`](crate::GrpcOtel::client_call_layer).
#[derive(Clone)]
pub struct ClientCallLayer {
    recorders: Arc<Recorders>,
    retries: bool,
}

impl ClientCallLayer {
    pub(crate) fn new(shared: &Arc<Shared>, target: Target) -> Self {
        Self { retries: true, ..Self::without_retries(shared, target) }
    }

    pub(crate) fn without_retries(shared: &Arc<Shared>, target: Target) -> Self {
        Self { recorders: Arc::new(Recorders::client(shared, Side::Call, Some(target))), retries: false }
    }
}

impl<S> Layer<S> for ClientCallLayer {
    type Service = ClientCall<S>;

    fn layer(&self, inner: S) -> Self::Service {
        ClientCall { inner, layer: self.clone() }
    }
}

/// A channel whose calls are recorded.
#[derive(Clone)]
pub struct ClientCall<S> {
    inner: S,
    layer: ClientCallLayer,
}

impl<S, B, R> Service<Request<B>> for ClientCall<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Error: Display + 'static,
    R: Body,
{
    type Response = Response<ResponseBody<R>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let guard = Guard::new(self.layer.start(&mut request));
        let response = {
            #[cfg(feature = "trace")]
            let _current = guard.attach();
            self.inner.call(request)
        };
        ResponseFuture::new(response, guard)
    }
}

impl ClientCallLayer {
    fn start<B>(&self, request: &mut Request<B>) -> Option<Arc<Call>> {
        let recorder = self.recorders.of_request(request)?;
        let started = Instant::now();
        let attempts =
            self.retries.then(|| AttemptsOf::begin(request.extensions_mut(), self.recorders.shared()));
        #[cfg(feature = "trace")]
        let span = recorder.shared.tracing.call_span(&recorder.span, started, request);
        Some(Call::begin(
            recorder,
            started,
            request,
            timeout::from_headers(request.headers()).unwrap_or_default(),
            attempts,
            #[cfg(feature = "trace")]
            span,
        ))
    }
}
