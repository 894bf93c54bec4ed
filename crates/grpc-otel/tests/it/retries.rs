//! Calls of several attempts.

use std::time::Duration;

use bytes::Bytes;
use grpc_otel::BoxError;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use tonic::{Status, body::Body};
use tower::{
    ServiceBuilder, ServiceExt as _,
    retry::{Policy, RetryLayer},
};

use crate::{
    greeter::greeter_client::GreeterClient,
    observed::Observed,
    support::{TARGET, hello, serve},
};

/// Tries so many times while the server says it is unavailable.
#[derive(Clone)]
struct Unavailable(u32);

impl<B, E> Policy<Request<Full<Bytes>>, Response<B>, E> for Unavailable {
    type Future = tokio::time::Sleep;

    fn retry(
        &mut self,
        _: &mut Request<Full<Bytes>>,
        result: &mut Result<Response<B>, E>,
    ) -> Option<Self::Future> {
        let status = Status::from_header_map(result.as_ref().ok()?.headers())?;
        self.0 = self.0.checked_sub(u32::from(status.code() == tonic::Code::Unavailable))?;
        (status.code() == tonic::Code::Unavailable).then(|| tokio::time::sleep(Duration::from_millis(20)))
    }

    fn clone_request(&mut self, request: &Request<Full<Bytes>>) -> Option<Request<Full<Bytes>>> {
        Some(request.clone())
    }
}

#[tokio::test]
async fn attempts_and_calls_are_counted_apart() {
    let (server, caller) = (Observed::new(), Observed::new());
    let endpoint = serve(&server.builder().build()).await;
    let otel = caller.builder().retry_metrics(true).build();
    let channel = ServiceBuilder::new()
        .layer(RetryLayer::new(Unavailable(2)))
        .layer(otel.client_attempt_layer(TARGET))
        .service(endpoint.connect_lazy());
    let buffered = tower::service_fn(move |request: Request<Body>| {
        let channel = channel.clone();
        async move {
            let (head, body) = request.into_parts();
            let body = Full::new(body.collect().await?.to_bytes());
            Ok::<_, BoxError>(channel.oneshot(Request::from_parts(head, body)).await?)
        }
    });
    let mut greeter =
        GreeterClient::new(ServiceBuilder::new().layer(otel.client_call_layer(TARGET)).service(buffered));

    greeter.say_hello(hello("fail 14 overloaded")).await.unwrap_err();
    greeter.say_hello(hello("world")).await.unwrap();

    let unavailable = [("grpc.status", "UNAVAILABLE")];
    assert_eq!(caller.count("grpc.client.attempt.started", &[]), 4);
    assert_eq!(caller.count("grpc.client.attempt.duration", &unavailable), 3);
    assert_eq!(caller.count("grpc.client.call.duration", &unavailable), 1);
    assert_eq!(caller.count("grpc.client.call.duration", &[("grpc.status", "OK")]), 1);
    assert_eq!(server.count("grpc.server.call.started", &[]), 4);

    assert_eq!(caller.count("grpc.client.call.retries", &[]), 1);
    assert_eq!(caller.sum("grpc.client.call.retries", &[]).to_bits(), 2f64.to_bits());
    assert_eq!(caller.count("grpc.client.call.hedges", &[]), 0);
    assert_eq!(caller.count("grpc.client.call.retry_delay", &[]), 2);
    assert!(caller.sum("grpc.client.call.retry_delay", &[]) >= 0.04);

    let spans = caller.spans();
    let call = spans.iter().find(|span| span.name == "Sent.helloworld.Greeter.SayHello").unwrap();
    let previous: Vec<_> = spans
        .iter()
        .filter(|span| span.parent_span_id == call.span_context.span_id())
        .flat_map(|span| span.attributes.iter())
        .filter(|pair| pair.key.as_str() == "previous-rpc-attempts")
        .map(|pair| pair.value.to_string())
        .collect();
    assert_eq!(previous, ["0", "1", "2"]);
}
