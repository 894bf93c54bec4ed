//! Transparent retries, as gRFC A6 has them: a request that no server has seen is sent again.

use std::{
    mem,
    sync::Arc,
    task::{Context, Poll},
};

use futures_util::future::BoxFuture;
use grpc_otel::TransparentRetry;
use http::{Request, Response};
use parking_lot::Mutex;
use tonic::{Status, body::Body};

use super::service::Service;

/// Among the extensions of a response: the request that it answers, which has not been sent.
#[derive(Debug, Clone)]
pub(super) struct Unsent(Arc<Mutex<Option<Request<Body>>>>);

impl Unsent {
    /// Returns a response with that status, for [`Resend`].
    pub(super) fn response(request: Request<Body>, status: Status) -> Response<Body> {
        let mut response = status.into_http();
        response.extensions_mut().insert(Self(Arc::new(Mutex::new(Some(request)))));
        response
    }

    fn take(response: &mut Response<Body>) -> Option<Request<Body>> {
        let unsent = response.extensions_mut().remove::<Self>()?;
        mem::take(&mut *unsent.0.lock())
    }
}

/// Makes another attempt of what was not sent. It stands outside of the telemetry of attempts, since each is one.
#[derive(Debug, Clone)]
pub(super) struct Resend(pub(super) Service);

impl tower::Service<Request<Body>> for Resend {
    type Response = Response<Body>;
    type Error = Status;
    type Future = BoxFuture<'static, Result<Response<Body>, Status>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let mut service = self.0.clone();
        Box::pin(async move {
            let mut response = service.call(request).await?;
            while let Some(mut unsent) = Unsent::take(&mut response) {
                unsent.extensions_mut().insert(TransparentRetry);
                response = service.call(unsent).await?;
            }
            Ok(response)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn unsent_request_is_resent_as_transparent_retry() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let attempts = seen.clone();
        let service = Service::new(tower::service_fn(move |request: Request<Body>| {
            let mut attempts = attempts.lock();
            attempts.push((
                request.uri().path().to_owned(),
                request.extensions().get::<TransparentRetry>().is_some(),
            ));
            let first = attempts.len() == 1;
            async move {
                Ok(if first {
                    Unsent::response(request, Status::unavailable("the connection was about to end"))
                } else {
                    Status::ok("").into_http()
                })
            }
        }));
        let request = Request::builder().uri("/a.B/C").body(Body::empty()).unwrap();
        let response = tower::Service::call(&mut Resend(service), request).await.unwrap();
        assert_eq!(response.headers()["grpc-status"], "0");
        let path = "/a.B/C".to_owned();
        assert_eq!(*seen.lock(), [(path.clone(), false), (path, true)]);
    }
}
