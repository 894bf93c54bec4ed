//! Retries of calls that may be repeated, as in gRFC A6: only before a response has begun, only within the deadline.

use std::{
    task::{Context, Poll},
    time::Duration,
};

use futures_util::{future::BoxFuture, stream};
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use tonic::{Code, Status, body::Body};
use tonic_types::StatusExt as _;
use tower::Service as _;

use super::{deadline::Deadline, service::Service};
use crate::backoff::Backoff;

/// The maximum of gRFC A6.
const MAX_ATTEMPTS: u8 = 5;
const INITIAL_BACKOFF: Duration = Duration::from_millis(100);
const MAX_BACKOFF: Duration = Duration::from_secs(2);

/// Marks a request of one message that may be sent more than once. Travels as an extension of the request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Retryable;

/// Retries requests marked [`Retryable`] when the server is unavailable.
#[derive(Debug, Clone)]
pub(super) struct Retry(pub(super) Service);

impl tower::Service<Request<Body>> for Retry {
    type Response = Response<Body>;
    type Error = Status;
    type Future = BoxFuture<'static, Result<Response<Body>, Status>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        if request.extensions().get::<Retryable>().is_none() {
            return Box::pin(self.0.call(request));
        }
        // The balancer below is always ready (it waits in `call`), so the clone is as ready as the original.
        Box::pin(call_with_retries(self.0.clone(), request))
    }
}

async fn call_with_retries(mut service: Service, request: Request<Body>) -> Result<Response<Body>, Status> {
    let (parts, body) = request.into_parts();
    let message = body.collect().await?.to_bytes();
    let deadline = parts.extensions.get::<Deadline>().copied();
    let mut backoff = Backoff::new(INITIAL_BACKOFF, MAX_BACKOFF);
    let mut attempt = 1_u8;
    loop {
        let frame = Ok::<_, Status>(Frame::data(message.clone()));
        let body = Body::new(StreamBody::new(stream::iter([frame])));
        let mut request = Request::from_parts(parts.clone(), body);
        if attempt > 1 {
            let headers = request.headers_mut();
            headers.insert("grpc-previous-rpc-attempts", HeaderValue::from(u16::from(attempt - 1)));
        }
        let response = service.call(request).await?;
        let remaining = deadline.map_or(Duration::MAX, Deadline::remaining);
        match retry_delay(response.headers(), &mut backoff) {
            Some(wait) if attempt < MAX_ATTEMPTS && wait < remaining => tokio::time::sleep(wait).await,
            _ => return Ok(response),
        }
        attempt += 1;
    }
}

/// Returns how long to wait before the next attempt, if the response is a status that allows one.
fn retry_delay(headers: &HeaderMap, backoff: &mut Backoff) -> Option<Duration> {
    let status = Status::from_header_map(headers).filter(|status| status.code() == Code::Unavailable)?;
    let requested = status.get_details_retry_info().and_then(|info| info.retry_delay);
    Some(requested.unwrap_or_default().max(backoff.next()))
}
