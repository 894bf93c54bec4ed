//! The server's layer.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response};
use http_body::Body;
use tower_layer::Layer;
use tower_service::Service;

use crate::{
    BoxError, Methods, RequestBody, ResponseBody, ResponseFuture,
    builder::Shared,
    call::{Call, Guard},
    clock::Instant,
    recorder::Recorders,
};

/// Records every call a server gets. Made by [`GrpcOtel::server_layer`](crate::GrpcOtel::server_layer).
#[derive(Clone)]
pub struct ServerLayer(Arc<Recorders>);

impl ServerLayer {
    pub(crate) fn new(shared: &Arc<Shared>, methods: Methods) -> Self {
        Self(Arc::new(Recorders::server(shared, methods)))
    }
}

impl<S> Layer<S> for ServerLayer {
    type Service = ServerService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        ServerService { inner, recorders: self.0.clone() }
    }
}

/// A service whose calls are recorded.
#[derive(Clone)]
pub struct ServerService<S> {
    inner: S,
    recorders: Arc<Recorders>,
}

impl<S, B, R> Service<Request<B>> for ServerService<S>
where
    S: Service<Request<RequestBody<B>>, Response = Response<R>>,
    S::Error: Into<BoxError>,
    R: Body,
{
    type Response = Response<ResponseBody<R>>;
    type Error = BoxError;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let call = self.recorders.enabled.then(|| start(&self.recorders, &request));
        let guard = Guard::new(call.clone());
        let response = {
            #[cfg(feature = "trace")]
            let _current = guard.attach();
            self.inner.call(request.map(|body| RequestBody::new(body, call)))
        };
        ResponseFuture::new(response, guard)
    }
}

fn start<B>(recorders: &Recorders, request: &Request<B>) -> Arc<Call> {
    let started = Instant::now();
    let recorder = recorders.of_path(request.uri().path());
    Arc::new(Call {
        #[cfg(feature = "trace")]
        span: recorder.shared.tracing.server_span(&recorder.span, started, request),
        ..Call::new(recorder, started, request.headers())
    })
}
