//! Without spans of its own a process passes on the context that it got, and sends none that it did not get.

use grpc_otel::{Builder, GrpcOtel};
use opentelemetry::trace::noop::NoopTracerProvider;
use opentelemetry_sdk::{propagation::TraceContextPropagator, trace::SdkTracerProvider};
use tonic::{Request, Response, Status, metadata::MetadataMap, transport::Server};

use crate::{
    greeter::{
        HelloReply, HelloRequest,
        greeter_client::GreeterClient,
        greeter_server::{Greeter, GreeterServer},
    },
    support::{Client, client, hello, listen, methods},
};

const CONTEXT: [(&str, &str); 2] = [
    ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
    ("tracestate", "vendor=opaque"),
];

/// Answers with the trace context of its request.
struct Back;

#[tonic::async_trait]
impl Greeter for Back {
    async fn say_hello(&self, request: Request<HelloRequest>) -> Result<Response<HelloReply>, Status> {
        Ok(Response::new(HelloReply { message: context(request.metadata()) }))
    }
}

fn context(metadata: &MetadataMap) -> String {
    let value = |(key, _): (&str, &str)| Some(metadata.get(key)?.to_str().expect("ASCII").to_owned());
    CONTEXT.into_iter().filter_map(value).collect::<Vec<_>>().join(" ")
}

/// Passes its requests on to [`Back`].
struct Front(Client);

#[tonic::async_trait]
impl Greeter for Front {
    async fn say_hello(&self, _: Request<HelloRequest>) -> Result<Response<HelloReply>, Status> {
        self.0.clone().say_hello(hello("world")).await
    }
}

/// What the second server sees of calls with and without a context.
async fn seen_behind(otel: Builder) -> [String; 2] {
    let otel = otel.build();
    let (endpoint, incoming) = listen().await;
    let back = Server::builder().add_service(GreeterServer::new(Back));
    tokio::spawn(back.serve_with_incoming(incoming));
    let front = GreeterServer::new(Front(client(&otel, &endpoint)));
    let (endpoint, incoming) = listen().await;
    let front = Server::builder().layer(otel.server_layer(methods())).add_service(front);
    tokio::spawn(front.serve_with_incoming(incoming));

    let mut caller = GreeterClient::new(endpoint.connect_lazy());
    let mut traced = Request::new(hello("world"));
    for (key, value) in CONTEXT {
        traced.metadata_mut().insert(key, value.parse().expect("ASCII"));
    }
    let with = caller.say_hello(traced).await.unwrap().into_inner().message;
    let without = caller.say_hello(hello("world")).await.unwrap().into_inner().message;
    [with, without]
}

fn propagating() -> Builder {
    GrpcOtel::builder().propagator(TraceContextPropagator::new())
}

#[tokio::test]
async fn context_without_a_provider_is_passed_on_and_none_invented() {
    let unchanged = CONTEXT.map(|(_, value)| value).join(" ");
    assert_eq!(seen_behind(propagating()).await, [unchanged.as_str(), ""]);
    let noop = propagating().tracer_provider(&NoopTracerProvider::new());
    assert_eq!(seen_behind(noop).await, [unchanged.as_str(), ""]);
}

#[tokio::test]
async fn shut_down_provider_passes_context_on_unchanged() {
    let provider = SdkTracerProvider::builder().build();
    provider.shutdown().unwrap();
    let unchanged = CONTEXT.map(|(_, value)| value).join(" ");
    assert_eq!(seen_behind(propagating().tracer_provider(&provider)).await, [unchanged.as_str(), ""]);
}
