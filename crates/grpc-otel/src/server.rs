//! The server's layer.

use std::{
    fmt::Display,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response};
use http_body::Body;
use tonic::server::NamedService;
use tower_layer::Layer;
use tower_service::Service;

use crate::{
    body::{RequestBody, ResponseBody},
    call::{Call, Guard},
    clock::Instant,
    future::ResponseFuture,
    headers::Found,
    methods::Methods,
    recorder::Recorders,
    shared::Shared,
    timeout,
};

/// Records every call a server gets. Made by [`GrpcOtel::server_layer`](crate::GrpcOtel::server_layer).
#[derive(Clone)]
pub struct ServerLayer {
    recorders: Arc<Recorders>,
    /// Of all calls, if they come over one connection.
    #[cfg(feature = "trace")]
    peer: Option<std::net::SocketAddr>,
}

impl ServerLayer {
    pub(crate) fn new(shared: &Arc<Shared>, methods: Methods) -> Self {
        Self {
            recorders: Arc::new(Recorders::server(shared, methods)),
            #[cfg(feature = "trace")]
            peer: None,
        }
    }

    /// Returns the layer for the calls of one connection, whose peer is known.
    ///
    /// It is for servers that accept connections themselves: unlike an extension for
    /// [`Builder::peer_address`](crate::Builder::peer_address) it costs no allocation a call.
    #[cfg(feature = "trace")]
    #[must_use]
    pub fn with_peer(self, peer: std::net::SocketAddr) -> Self {
        Self { peer: Some(peer), ..self }
    }
}

impl<S> Layer<S> for ServerLayer {
    type Service = ServerService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        ServerService { inner, layer: self.clone() }
    }
}

/// A service whose calls are recorded.
#[derive(Clone)]
pub struct ServerService<S> {
    inner: S,
    layer: ServerLayer,
}

/// So that one service with the layer goes where tonic's own go.
impl<S: NamedService> NamedService for ServerService<S> {
    const NAME: &'static str = S::NAME;
}

impl<S, B, R> Service<Request<B>> for ServerService<S>
where
    S: Service<Request<RequestBody<B>>, Response = Response<R>>,
    S::Error: Display + 'static,
    R: Body,
{
    type Response = Response<ResponseBody<R>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let call = self.layer.start(&request);
        let guard = Guard::new(call.clone());
        let response = {
            #[cfg(feature = "trace")]
            let _current = guard.attach();
            self.inner.call(request.map(|body| RequestBody::new(body, call)))
        };
        ResponseFuture::new(response, guard)
    }
}

impl ServerLayer {
    fn start<B>(&self, request: &Request<B>) -> Option<Arc<Call>> {
        let recorder = self.recorders.for_path(request.uri().path())?;
        let found = Found::among(request.headers(), recorder.shared.propagated());
        if !found.are_grpc(request.method()) {
            return None;
        }
        let started = Instant::now();
        #[cfg(feature = "trace")]
        let span =
            recorder.shared.tracing.server_span(&recorder.span, started, request, self.peer, found.context);
        Some(Call::begin(
            recorder,
            started,
            request,
            found.timeout.and_then(|value| timeout::parse(value.as_bytes())),
            None,
            #[cfg(feature = "trace")]
            span,
        ))
    }
}
