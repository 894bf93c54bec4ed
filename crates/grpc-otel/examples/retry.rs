//! A channel that tries again, with its calls and attempts counted apart: `cargo run --example retry`.

mod greeter;

use std::{
    error::Error,
    net::Ipv4Addr,
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    time::Duration,
};

use bytes::Bytes;
use greeter::{
    HelloReply, HelloRequest,
    greeter_client::GreeterClient,
    greeter_server::{Greeter, GreeterServer},
};
use grpc_otel::{BoxError, GrpcOtel};
use http_body_util::{BodyExt as _, Full};
use opentelemetry_sdk::{metrics::SdkMeterProvider, trace::SdkTracerProvider};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{
    Code, Request, Response, Status,
    body::Body,
    transport::{Channel, Server},
};
use tower::{
    ServiceBuilder, ServiceExt as _,
    retry::{Policy, RetryLayer},
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let target = listener.local_addr()?.to_string();
    let server = Server::builder().add_service(GreeterServer::new(LateRiser(AtomicU32::new(0))));
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));

    let meters = SdkMeterProvider::builder()
        .with_periodic_exporter(opentelemetry_stdout::MetricExporter::default())
        .build();
    let tracers = SdkTracerProvider::builder()
        .with_batch_exporter(opentelemetry_stdout::SpanExporter::default())
        .build();
    let otel =
        GrpcOtel::builder().meter_provider(&meters).tracer_provider(&tracers).retry_metrics(true).build();

    let attempts = ServiceBuilder::new()
        .layer(RetryLayer::new(Unavailable { left: 3 }))
        .layer(otel.client_attempt_layer(&target))
        .service(Channel::from_shared(format!("http://{target}"))?.connect_lazy());
    // A request that is sent more than once has to be kept.
    let buffered = tower::service_fn(move |request: http::Request<Body>| {
        let attempts = attempts.clone();
        async move {
            let (head, body) = request.into_parts();
            let body = Full::new(body.collect().await?.to_bytes());
            Ok::<_, BoxError>(attempts.oneshot(http::Request::from_parts(head, body)).await?)
        }
    });
    let channel = ServiceBuilder::new().layer(otel.client_call_layer(&target)).service(buffered);

    let reply = GreeterClient::new(channel).say_hello(HelloRequest { name: "Tonic".into() }).await?;
    println!("{}", reply.into_inner().message);
    tokio::task::spawn_blocking(move || tracers.shutdown().and(meters.shutdown())).await??;
    Ok(())
}

/// Tries again while the server is unavailable.
#[derive(Clone)]
struct Unavailable {
    left: u32,
}

impl<B, E> Policy<http::Request<Full<Bytes>>, http::Response<B>, E> for Unavailable {
    type Future = tokio::time::Sleep;

    fn retry(
        &mut self,
        _: &mut http::Request<Full<Bytes>>,
        result: &mut Result<http::Response<B>, E>,
    ) -> Option<Self::Future> {
        let status = Status::from_header_map(result.as_ref().ok()?.headers())?;
        if status.code() != Code::Unavailable {
            return None;
        }
        self.left = self.left.checked_sub(1)?;
        Some(tokio::time::sleep(Duration::from_millis(50)))
    }

    fn clone_request(&mut self, request: &http::Request<Full<Bytes>>) -> Option<http::Request<Full<Bytes>>> {
        Some(request.clone())
    }
}

/// Is unavailable twice.
struct LateRiser(AtomicU32);

#[tonic::async_trait]
impl Greeter for LateRiser {
    async fn say_hello(&self, request: Request<HelloRequest>) -> Result<Response<HelloReply>, Status> {
        if self.0.fetch_add(1, Relaxed) < 2 {
            return Err(Status::unavailable("not awake yet"));
        }
        Ok(Response::new(HelloReply { message: format!("Hello {}!", request.into_inner().name) }))
    }
}
