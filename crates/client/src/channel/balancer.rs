//! Sends calls to the ready endpoints in turn (round robin).

use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
};

use futures_util::future::BoxFuture;
use grpc_otel::Attempt;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use kelvin_app::error_chain;
use tokio::task::JoinSet;
use tonic::{Code, Status, body::Body};
use tower::Service;

use super::{
    endpoints::{Endpoints, HttpConnection, Wait},
    resend::Unsent,
};

/// The service over all connections. Whatever goes wrong is a gRPC status in the response.
#[derive(Debug, Clone)]
pub(super) struct Balancer {
    endpoints: Endpoints,
    /// The tasks that resolve and connect; they end with the last clone.
    _tasks: Arc<JoinSet<()>>,
}

impl Balancer {
    pub(super) fn new(endpoints: Endpoints, tasks: JoinSet<()>) -> Self {
        Self { endpoints, _tasks: Arc::new(tasks) }
    }
}

impl Service<Request<Body>> for Balancer {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let endpoints = self.endpoints.clone();
        Box::pin(async move { Ok(send(&endpoints, request).await.unwrap_or_else(Status::into_http)) })
    }
}

async fn send(endpoints: &Endpoints, request: Request<Body>) -> Result<Response<Body>, Status> {
    // Only recorded attempts have one.
    let attempt = request.extensions().get::<Attempt>().cloned();
    let delay =
        |wait: Wait| attempt.as_ref().map(|attempt| attempt.delay(wait.delay_type(), wait.delay_reason()));
    let HttpConnection { mut sender, peer } = endpoints.pick(delay).await?;
    if let Some(attempt) = &attempt {
        attempt.record_peer(peer);
    }
    match sender.try_send_request(request).await {
        Ok(response) => Ok(response.map(|body| Body::new(body.map_err(|error| transport_error(&error))))),
        Err(mut error) => match error.take_message() {
            // The connection was about to end and has not sent it: another one can.
            Some(unsent) => Ok(Unsent::response(unsent, transport_error(error.error()))),
            None => Err(transport_error(error.error())),
        },
    }
}

/// The status of a call whose connection or stream broke: what the peer said by resetting it, else UNAVAILABLE.
fn transport_error(error: &hyper::Error) -> Status {
    let reset = std::error::Error::source(error)
        .and_then(|source| source.downcast_ref::<h2::Error>())
        .filter(|error| error.is_reset())
        .and_then(h2::Error::reason);
    // https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md, "Errors"
    let code = match reset {
        None | Some(h2::Reason::REFUSED_STREAM | h2::Reason::CANCEL) => Code::Unavailable,
        Some(h2::Reason::ENHANCE_YOUR_CALM) => Code::ResourceExhausted,
        Some(h2::Reason::INADEQUATE_SECURITY) => Code::PermissionDenied,
        Some(_) => Code::Internal,
    };
    Status::new(code, error_chain(error))
}
