use std::{
    convert::Infallible,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header::CONTENT_TYPE};
use kelvin_proto::Method;
use pin_project_lite::pin_project;
use tonic::{Status, body::Body};
use tower::Service;

use super::{
    aggregate_sensor_readings::aggregate_sensor_readings, core::Core,
    get_sensor_readings::get_sensor_readings, send_single_reading::send_single_reading,
    sensor_chat::sensor_chat, sensors::Sensors, stream_sensor_readings::stream_sensor_readings,
};
use crate::{
    caller::Caller,
    lifetime::Lifetime,
    status::{self, panicked},
    wire::{
        ACCEPTED, ACCEPTED_BY_AUXILIARY, BoxFuture, Deframer, Encoding, Messages, Reply, ReplyBody,
        RequestBody, failure, from_tonic,
    },
};

/// Routes calls to their handlers.
#[derive(Debug, Clone)]
pub(crate) struct Rpc {
    core: Arc<Core>,
}

impl Rpc {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }

    /// Makes a call for `caller`.
    pub(super) fn call<B: RequestBody>(
        &self,
        request: Request<B>,
        caller: Caller,
    ) -> BoxFuture<Result<Reply, Infallible>> {
        if request.method() != http::Method::POST {
            return no_grpc(StatusCode::METHOD_NOT_ALLOWED);
        }
        if !is_grpc(request.headers()) {
            return no_grpc(StatusCode::UNSUPPORTED_MEDIA_TYPE);
        }
        caller.record();
        let core = Arc::clone(&self.core);
        let lifetime = |caller, ends_at_drain| {
            let (age, interrupts) = (self.core.max_stream_age, &self.core.interrupts);
            Lifetime::new(request.headers(), age, interrupts, caller, ends_at_drain)
        };
        // Short calls are left to end by themselves in a drain, streams are ended.
        let short = |caller| lifetime(caller, false);
        let stream = |caller| lifetime(caller, true);
        let limited_to = |max_size, request: Request<B>| {
            let deframer = Deframer::new(max_size, Encoding::of(request.headers())?);
            Ok::<_, Status>(Messages { body: request.into_body(), deframer })
        };
        let messages = |request| limited_to(self.core.max_message_size, request);
        let query = |request| limited_to(self.core.max_query_size(), request);
        let path = request.uri().path();
        match Method::from_path(path) {
            Some(Method::SendSingleReading) => {
                let (lifetime, messages) = (short(caller), messages(request));
                limited(lifetime, async { send_single_reading(core, messages?).await })
            }
            Some(Method::StreamSensorReadings) => {
                let (lifetime, messages) = (stream(caller), messages(request));
                run(async { stream_sensor_readings(core, messages?, lifetime?).await })
            }
            Some(Method::GetSensorReadings) => {
                let (lifetime, query) = (stream(caller), query(request));
                run(async { get_sensor_readings(core, query?, lifetime?).await })
            }
            Some(Method::SensorChat) => {
                let (lifetime, messages) = (stream(caller), messages(request));
                run(async { Ok(sensor_chat(core, messages?, lifetime?)) })
            }
            Some(Method::AggregateSensorReadings) => {
                let (lifetime, query) = (stream(caller), query(request));
                run(async { aggregate_sensor_readings(core, query?, lifetime?).await })
            }
            Some(Method::GetSensorStats | Method::ListSensors) => {
                let (lifetime, service) = (short(caller), Sensors::service(core));
                run(async { call_tonic(service, request, ACCEPTED, lifetime?).await })
            }
            None => match core.auxiliary_services.iter().find(|auxiliary| path.starts_with(auxiliary.prefix))
            {
                Some(auxiliary) => {
                    let (lifetime, service) = (stream(caller), auxiliary.service.clone());
                    run(async { call_tonic(service, request, ACCEPTED_BY_AUXILIARY, lifetime?).await })
                }
                None => run(std::future::ready(Err(Status::unimplemented("this server has no such method")))),
            },
        }
    }
}

/// `application/grpc`, alone or with a subtype or a parameter. `application/grpc-web` is another protocol.
fn is_grpc(headers: &HeaderMap) -> bool {
    let rest = headers.get(CONTENT_TYPE).and_then(|value| value.as_bytes().strip_prefix(b"application/grpc"));
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';' | b' ')))
}

fn no_grpc(status: StatusCode) -> BoxFuture<Result<Reply, Infallible>> {
    let mut reply = Response::new(ReplyBody::default());
    *reply.status_mut() = status;
    Box::pin(std::future::ready(Ok(reply)))
}

/// A call that ends by itself.
fn run<F>(call: F) -> BoxFuture<Result<Reply, Infallible>>
where
    F: Future<Output = Result<Reply, Status>> + Send + 'static,
{
    Box::pin(Run { limit: None, call })
}

fn limited<F>(lifetime: Result<Lifetime, Status>, call: F) -> BoxFuture<Result<Reply, Infallible>>
where
    F: Future<Output = Result<Reply, Status>> + Send + 'static,
{
    match lifetime {
        Ok(lifetime) => Box::pin(Run { limit: Some(lifetime), call }),
        Err(status) => run(std::future::ready(Err(status))),
    }
}

pin_project! {
    /// A call whose panics and limits become its status. No `async` block: those keep a copy of each future that they
    /// wait for, and a call took 7 KB.
    struct Run<F> {
        limit: Option<Lifetime>,
        #[pin]
        call: F,
    }
}

impl<F: Future<Output = Result<Reply, Status>>> Future for Run<F> {
    type Output = Result<Reply, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let result = match catch_unwind(AssertUnwindSafe(|| this.call.poll(cx))) {
            Ok(Poll::Ready(result)) => result,
            Ok(Poll::Pending) => {
                let Some(lifetime) = this.limit else { return Poll::Pending };
                Err(status::ended(ready!(lifetime.poll_ended(cx)), None))
            }
            Err(_) => Err(panicked()),
        };
        Poll::Ready(Ok(result.unwrap_or_else(failure)))
    }
}

/// Passes a call to a service that tonic provides. `accepted` are the encodings that it takes.
async fn call_tonic<B: RequestBody>(
    mut service: impl Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    request: Request<B>,
    accepted: HeaderValue,
    mut lifetime: Lifetime,
) -> Result<Reply, Status> {
    match lifetime.limit(service.call(request.map(Body::new))).await {
        Ok(Ok(reply)) => Ok(from_tonic(reply, accepted, lifetime)),
        Ok(Err(never)) => match never {},
        Err(reason) => Err(status::ended(reason, None)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn panicking_handler_returns_internal() {
        let reply = run(async { panic!("a mistake in a handler") }).await.unwrap();
        assert_eq!(reply.headers()["grpc-status"], "13");
    }
}
