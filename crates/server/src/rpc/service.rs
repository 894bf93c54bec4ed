use std::{
    convert::Infallible,
    panic::AssertUnwindSafe,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::FutureExt as _;
use http::{HeaderMap, Request, Response, StatusCode, header::CONTENT_TYPE};
use kelvin_store::{Batch, Report, Store, StoreError};
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tower::{Service, util::BoxCloneSyncService};

use super::{
    aggregate_sensor_readings::aggregate_sensor_readings,
    get_sensor_readings::get_sensor_readings,
    lifetime::{Bounded, Lifetime},
    send_single_reading::send_single_reading,
    sensor_chat::sensor_chat,
    sensors::{get_sensor_stats, list_sensors},
    stream_sensor_readings::stream_sensor_readings,
};
use crate::{
    metrics::Metrics,
    status,
    wire::{BoxFuture, Reply, ReplyBody, RequestBody, failure},
};

/// What the calls on one runtime share.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) store: Store,
    pub(crate) metrics: Arc<Metrics>,
    /// Bytes of the longest message taken.
    pub(crate) max_message_size: usize,
    pub(crate) max_clock_skew: Duration,
    pub(crate) max_stream_age: Duration,
    /// Cancelled when streams have to end.
    pub(crate) drain: CancellationToken,
    /// Services beside `SensorService`.
    pub(crate) companions: Vec<Companion>,
}

/// A service that a library provides, such as health.
#[derive(Debug, Clone)]
pub(crate) struct Companion {
    /// `/package.Service/`
    pub(crate) prefix: &'static str,
    pub(crate) service:
        BoxCloneSyncService<Request<tonic::body::Body>, Response<tonic::body::Body>, Infallible>,
}

impl Core {
    /// Stores a batch and counts what came of it.
    pub(super) async fn append(&self, batch: &Batch, report: &mut Report) -> Result<(), StoreError> {
        let result = self.store.append(batch, report).await;
        self.metrics.appended(batch, report);
        result
    }
}

/// Routes calls to their handlers.
#[derive(Debug, Clone)]
pub(crate) struct Rpc {
    core: Arc<Core>,
}

impl Rpc {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }
}

impl<B: RequestBody> Service<Request<B>> for Rpc {
    type Response = Reply;
    type Error = Infallible;
    type Future = BoxFuture<Result<Reply, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        if !is_grpc(request.headers()) {
            let mut reply = Response::new(ReplyBody::default());
            *reply.status_mut() = StatusCode::UNSUPPORTED_MEDIA_TYPE;
            return Box::pin(std::future::ready(Ok(reply)));
        }
        let core = Arc::clone(&self.core);
        let age = core.max_stream_age;
        // Short calls are left to end by themselves in a drain, streams are ended.
        let short = || Lifetime::new(request.headers(), age, None);
        let stream = || Lifetime::new(request.headers(), age, Some(&self.core.drain));
        match request.uri().path() {
            "/SensorService/SendSingleReading" => {
                let lifetime = short();
                run(limited(lifetime, send_single_reading(core, request.into_body())))
            }
            "/SensorService/StreamSensorReadings" => {
                let lifetime = stream();
                run(async { stream_sensor_readings(core, request.into_body(), lifetime?).await })
            }
            "/SensorService/GetSensorReadings" => {
                let lifetime = stream();
                run(async { get_sensor_readings(core, request.into_body(), lifetime?).await })
            }
            "/SensorService/SensorChat" => {
                let lifetime = stream();
                run(async { Ok(sensor_chat(core, request.into_body(), lifetime?)) })
            }
            "/SensorService/AggregateSensorReadings" => {
                let lifetime = stream();
                run(async { aggregate_sensor_readings(core, request.into_body(), lifetime?).await })
            }
            "/SensorService/GetSensorStats" => {
                let lifetime = short();
                run(limited(lifetime, get_sensor_stats(core, request.into_body())))
            }
            "/SensorService/ListSensors" => {
                let lifetime = short();
                run(limited(lifetime, list_sensors(core, request.into_body())))
            }
            path => match core.companions.iter().find(|companion| path.starts_with(companion.prefix)) {
                Some(companion) => {
                    let (lifetime, service) = (stream(), companion.service.clone());
                    run(async { ask(service, request, lifetime?).await })
                }
                None => run(std::future::ready(Err(Status::unimplemented("this server has no such method")))),
            },
        }
    }
}

/// What a call ends with whose handler panicked.
pub(crate) fn panicked() -> Status {
    // The panic itself is in the log already.
    tracing::error!("a handler panicked; its call ends INTERNAL");
    Status::internal("an error in the server; its log says more")
}

fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}

fn run<F>(call: F) -> BoxFuture<Result<Reply, Infallible>>
where
    F: Future<Output = Result<Reply, Status>> + Send + 'static,
{
    Box::pin(async {
        let result = AssertUnwindSafe(call).catch_unwind().await;
        Ok(result.unwrap_or_else(|_| Err(panicked())).unwrap_or_else(failure))
    })
}

async fn limited(
    lifetime: Result<Lifetime, Status>,
    call: impl Future<Output = Result<Reply, Status>>,
) -> Result<Reply, Status> {
    lifetime?.limit(call).await.unwrap_or_else(|ending| Err(status::ended(ending, None)))
}

async fn ask<B: RequestBody>(
    mut service: BoxCloneSyncService<Request<tonic::body::Body>, Response<tonic::body::Body>, Infallible>,
    request: Request<B>,
    mut lifetime: Lifetime,
) -> Result<Reply, Status> {
    match lifetime.limit(service.call(request.map(tonic::body::Body::new))).await {
        Ok(Ok(reply)) => Ok(reply.map(|body| ReplyBody::Tonic(Bounded::new(body, lifetime)))),
        Ok(Err(never)) => match never {},
        Err(ending) => Err(status::ended(ending, None)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_handler_that_panics_costs_its_call_only() {
        let reply = run(async { panic!("a mistake in a handler") }).await.unwrap();
        assert_eq!(reply.headers()["grpc-status"], "13");
    }
}
