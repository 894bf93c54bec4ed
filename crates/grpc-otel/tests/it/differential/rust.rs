//! The script through tonic and this crate.

use std::{error::Error, net::SocketAddr, time::Duration};

use bytes::Bytes;
use grpc_otel::{Attempt, BoxError, DeadlineLayer, GrpcOtel, Methods};
use http_body_util::{BodyExt as _, Full};
use tokio::net::TcpListener;
use tokio_stream::{StreamExt as _, wrappers::TcpListenerStream};
use tonic::{
    GrpcMethod, Request, Status,
    body::Body,
    client::{Grpc, GrpcService},
    codec::CompressionEncoding,
    transport::{Channel, Endpoint, Server},
};
use tower::{Service, ServiceBuilder, ServiceExt as _, retry};

use super::{
    metrics::Series,
    script::Call,
    server::{Raw, Scripted},
    spans::{self, Span},
    telemetry::Telemetry,
};
use crate::observed::Observed;

/// What server and client have measured.
pub(crate) async fn run(script: &[Call]) -> Result<Telemetry, Box<dyn Error>> {
    let (server, client) = (Observed::new(), Observed::new());
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let target = format!("localhost:{}", address.port());
    let methods: Vec<_> = script
        .iter()
        .filter(|call| call.scenario != "Unregistered")
        .map(|call| format!("diff.Test/{}", call.scenario))
        .collect();
    let scripted = Scripted {
        methods: methods.iter().cloned().collect::<std::collections::BTreeSet<_>>().into(),
        attempts: std::sync::Arc::default(),
    };
    let layers = ServiceBuilder::new()
        .layer(server.builder().build().server_layer(methods.into_iter().collect::<Methods>()))
        .layer(DeadlineLayer::new());
    tokio::spawn(
        Server::builder()
            .layer(layers)
            .add_service(scripted)
            .serve_with_incoming(TcpListenerStream::new(listener)),
    );

    let channel = Endpoint::try_from(format!("http://{address}"))?.connect().await?;
    let otel = client.builder().retry_metrics(true).delay_metrics(true).build();
    let source = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/differential/script.json"))?;
    let texts: Vec<serde_json::Value> = serde_json::from_slice(&source)?;
    for (index, (scripted, text)) in script.iter().zip(texts).enumerate() {
        let reporting = reporting(channel.clone(), address, index == 0);
        let result = if scripted.fail_first > 0 {
            call(retrying(&otel, &target, reporting), scripted, &text.to_string()).await
        } else {
            let channel = ServiceBuilder::new().layer(otel.client_layer(&target)).service(reporting);
            call(channel, scripted, &text.to_string()).await
        };
        if let Err(status) = result {
            eprintln!("{}: {status}", scripted.scenario);
        }
    }
    // The span is the last of a call that ends.
    server
        .until("every call of the server ends", |server| {
            server.count("grpc.server.call.started", &[]) == server.spans().len() as u64
        })
        .await;
    let mut spans = [server.spans(), client.spans()].concat();
    spans.sort_by_key(|span| span.start_time);
    let spans: Vec<_> = spans.iter().map(Span::from).collect();
    let series = |of: &Observed| of.series().into_iter().map(Series::from).collect();
    Ok(Telemetry {
        server: series(&server),
        client: series(&client),
        peers: spans::peers(&spans, address.port()),
        spans,
    })
}

async fn call<T>(channel: T, scripted: &Call, script: &str) -> Result<(), Status>
where
    T: GrpcService<Body>,
    T::ResponseBody: http_body::Body<Data = Bytes> + Send + 'static,
    <T::ResponseBody as http_body::Body>::Error: Into<BoxError>,
{
    let mut grpc = Grpc::new(channel);
    if scripted.gzip {
        grpc = grpc.send_compressed(CompressionEncoding::Gzip).accept_compressed(CompressionEncoding::Gzip);
    }
    grpc.ready().await.map_err(|error| Status::from_error(error.into()))?;
    let calling = exchange(&mut grpc, scripted, script);
    match scripted.cancel_after {
        // The server is to have the call before it ends.
        Some(0) => tokio::time::timeout(Duration::from_millis(100), calling)
            .await
            .unwrap_or_else(|_| Err(Status::cancelled("by the caller"))),
        _ => calling.await,
    }
}

async fn exchange<T>(grpc: &mut Grpc<T>, scripted: &Call, script: &str) -> Result<(), Status>
where
    T: GrpcService<Body>,
    T::ResponseBody: http_body::Body<Data = Bytes> + Send + 'static,
    <T::ResponseBody as http_body::Body>::Error: Into<BoxError>,
{
    let path =
        http::uri::PathAndQuery::try_from(format!("/diff.Test/{}", scripted.scenario)).expect("plain names");
    let messages: Vec<_> = scripted.requests.iter().map(|size| Bytes::from(vec![0; *size])).collect();
    let only = || messages.first().cloned().unwrap_or_default();
    let mut replies = match scripted.kind.as_str() {
        "unary" => return grpc.unary(request(only(), scripted, script), path, Raw).await.map(drop),
        "client-streaming" => {
            let messages = tokio_stream::iter(messages);
            return grpc.client_streaming(request(messages, scripted, script), path, Raw).await.map(drop);
        }
        "server-streaming" => {
            grpc.server_streaming(request(only(), scripted, script), path, Raw).await?.into_inner()
        }
        _ => {
            let messages = tokio_stream::iter(messages);
            grpc.streaming(request(messages, scripted, script), path, Raw).await?.into_inner()
        }
    };
    let mut received = 0;
    while scripted.cancel_after != Some(received) {
        match replies.next().await {
            Some(reply) => received += usize::from(reply.is_ok()),
            None => return Ok(()),
        }
    }
    Err(Status::cancelled("by the caller"))
}

fn request<M>(message: M, scripted: &Call, script: &str) -> Request<M> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("x-script", script.parse().expect("JSON is ASCII here"));
    if let Some(millis) = scripted.timeout_ms {
        request.set_timeout(Duration::from_millis(millis));
    }
    // Generated code has this as a constant.
    let method: &'static str = Box::leak(scripted.scenario.clone().into_boxed_str());
    request.extensions_mut().insert(GrpcMethod::new("diff.Test", method));
    request
}

/// A channel that reports its peer, and what the first call over grpc-go's waits for.
fn reporting(
    channel: Channel,
    peer: SocketAddr,
    is_first: bool,
) -> impl Service<http::Request<Body>, Response = http::Response<Body>, Error = tonic::transport::Error> + Clone
{
    tower::service_fn(move |request: http::Request<Body>| {
        let attempt = request.extensions().get::<Attempt>().expect("the attempt is recorded");
        if is_first {
            drop(attempt.delay("resolving", "the name is not resolved yet"));
            drop(attempt.delay("connecting", "there is no connection yet"));
        }
        attempt.record_peer(peer);
        channel.clone().oneshot(request)
    })
}

/// A channel that calls again while the server says UNAVAILABLE, until there have been `MAX_ATTEMPTS`.
fn retrying<S>(
    otel: &GrpcOtel,
    target: &str,
    channel: S,
) -> impl GrpcService<Body, ResponseBody: http_body::Body<Data = Bytes, Error = tonic::Status> + Send + 'static>
+ use<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = tonic::transport::Error> + Clone,
{
    let attempts = ServiceBuilder::new()
        .layer(retry::RetryLayer::new(WhileUnavailable { left: MAX_ATTEMPTS - 1 }))
        .layer(otel.client_attempt_layer(target))
        .service(channel);
    let buffered = tower::service_fn(move |request: http::Request<Body>| {
        let attempts = attempts.clone();
        async move {
            let (head, body) = request.into_parts();
            let body = Full::new(body.collect().await?.to_bytes());
            Ok::<_, BoxError>(attempts.oneshot(http::Request::from_parts(head, body)).await?)
        }
    });
    ServiceBuilder::new().layer(otel.client_call_layer(target)).service(buffered)
}

/// As in the retry policy of `go/main.go`.
const MAX_ATTEMPTS: u32 = 4;

#[derive(Clone)]
struct WhileUnavailable {
    left: u32,
}

impl<B, E> retry::Policy<http::Request<Full<Bytes>>, http::Response<B>, E> for WhileUnavailable {
    type Future = tokio::time::Sleep;

    fn retry(
        &mut self,
        _: &mut http::Request<Full<Bytes>>,
        result: &mut Result<http::Response<B>, E>,
    ) -> Option<Self::Future> {
        let status = Status::from_header_map(result.as_ref().ok()?.headers())?;
        self.left = self.left.checked_sub(u32::from(status.code() == tonic::Code::Unavailable))?;
        (status.code() == tonic::Code::Unavailable).then(|| tokio::time::sleep(Duration::from_millis(10)))
    }

    fn clone_request(&mut self, request: &http::Request<Full<Bytes>>) -> Option<http::Request<Full<Bytes>>> {
        Some(request.clone())
    }
}
