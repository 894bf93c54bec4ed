//! Calls that do not come to their end.

use std::time::Duration;

use grpc_otel::DeadlineLayer;
use tokio_stream::StreamExt as _;
use tonic::{Code, Request, transport::Server};
use tower::{ServiceBuilder, limit::GlobalConcurrencyLimitLayer, load_shed::LoadShedLayer};

use crate::{
    greeter::greeter_client::GreeterClient,
    observed::Observed,
    support::{client, greeter, hello, listen, methods, serve},
};

const ENDED: &str = "grpc.server.call.duration";

#[tokio::test]
async fn dropped_calls_are_cancelled_on_both_sides() {
    let (server, caller) = (Observed::new(), Observed::new());
    let endpoint = serve(&server.builder().build()).await;
    let mut greeter = client(&caller.builder().build(), &endpoint);

    // Before the response, and in the middle of a stream.
    let waiting = tokio::spawn({
        let mut greeter = greeter.clone();
        async move { greeter.say_hello(hello("wait")).await }
    });
    server.until("the call arrives", |server| server.count("grpc.server.call.started", &[]) == 1).await;
    waiting.abort();
    let mut replies = greeter.lots_of_replies(hello("a,wait")).await.unwrap().into_inner();
    assert_eq!(replies.next().await.unwrap().unwrap().message, "Hello a");
    drop(replies);

    let cancelled = [("grpc.status", "CANCELLED")];
    server.until("two cancelled calls", |server| server.count(ENDED, &cancelled) == 2).await;
    caller
        .until("the same at the client", |caller| caller.count("grpc.client.call.duration", &cancelled) == 2)
        .await;
    assert_eq!(caller.count("grpc.client.attempt.duration", &cancelled), 2);
    assert_eq!(server.spans().len(), 2);
    assert_eq!(caller.spans().len(), 4);
}

#[tokio::test]
async fn panic_is_recorded_as_unknown() {
    let server = Observed::new();
    let endpoint = serve(&server.builder().build()).await;
    GreeterClient::new(endpoint.connect_lazy()).say_hello(hello("panic")).await.unwrap_err();
    let unknown = [("grpc.status", "UNKNOWN")];
    server.until("the panic is counted", |server| server.count(ENDED, &unknown) == 1).await;
    assert_eq!(server.spans()[0].status, opentelemetry::trace::Status::error("UNKNOWN, panicked"));
}

fn within<T>(limit: Duration, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(limit);
    request
}

#[tokio::test]
async fn deadlines_are_exceeded_in_unary_calls_without_help() {
    let (server, caller) = (Observed::new(), Observed::new());
    let endpoint = serve(&server.builder().build()).await;
    let mut greeter = client(&caller.builder().build(), &endpoint);
    // A server that got the request late may hear that the client has cancelled before its own time is up.
    let exceeded = [("grpc.status", "DEADLINE_EXCEEDED")];
    let mut calls = 0;
    while server.count(ENDED, &exceeded) == 0 {
        calls += 1;
        assert!(calls <= 20, "{:#?}", server.series());
        greeter.say_hello(within(Duration::from_millis(50), hello("wait"))).await.unwrap_err();
        server.until("the call ends", |server| server.count(ENDED, &[]) == calls).await;
    }
    assert_eq!(caller.count("grpc.client.attempt.duration", &exceeded), calls);
    assert_eq!(caller.count("grpc.client.call.duration", &exceeded), calls);
}

#[tokio::test]
async fn deadline_layer_ends_streams_at_its_limit() {
    let server = Observed::new();
    let (endpoint, incoming) = listen().await;
    let layers = ServiceBuilder::new()
        .layer(server.builder().build().server_layer(methods()))
        .layer(DeadlineLayer::with_limit(Duration::from_millis(100)));
    let server_future = Server::builder().layer(layers).add_service(greeter());
    tokio::spawn(server_future.serve_with_incoming(incoming));
    let mut greeter = GreeterClient::new(endpoint.connect_lazy());

    let refused = greeter.say_hello(hello("wait")).await.unwrap_err();
    assert_eq!(refused.code(), Code::DeadlineExceeded);
    for limit in [Duration::from_millis(20), Duration::from_secs(3600)] {
        let replies = greeter.lots_of_replies(within(limit, hello("a,wait"))).await.unwrap();
        let replies: Vec<_> = replies.into_inner().collect().await;
        assert_eq!(replies.len(), 2);
        assert_eq!(replies[1].as_ref().unwrap_err().code(), Code::DeadlineExceeded);
    }
    assert_eq!(greeter.say_hello(hello("in time")).await.unwrap().get_ref().message, "Hello in time");
    let mut malformed = tonic::Request::new(hello("1 s"));
    malformed.metadata_mut().insert("grpc-timeout", "1s".parse().unwrap());
    assert_eq!(greeter.say_hello(malformed).await.unwrap_err().code(), Code::InvalidArgument);

    assert_eq!(server.count(ENDED, &[("grpc.status", "INVALID_ARGUMENT")]), 1);
    assert_eq!(server.count(ENDED, &[("grpc.status", "DEADLINE_EXCEEDED")]), 3);
    assert_eq!(server.count(ENDED, &[("grpc.status", "OK")]), 1);
}

#[tokio::test]
async fn shed_load_is_counted_by_a_limit_inside() {
    let server = Observed::new();
    let (endpoint, incoming) = listen().await;
    let layers = ServiceBuilder::new()
        .layer(server.builder().build().server_layer(methods()))
        .layer(LoadShedLayer::new())
        .layer(GlobalConcurrencyLimitLayer::new(1));
    tokio::spawn(Server::builder().layer(layers).add_service(greeter()).serve_with_incoming(incoming));
    let mut greeter = GreeterClient::new(endpoint.connect_lazy());

    let mut occupant = greeter.clone();
    let occupant = tokio::spawn(async move { occupant.say_hello(hello("wait")).await });
    server.until("the place is taken", |server| server.count("grpc.server.call.started", &[]) == 1).await;
    let refused = greeter.say_hello(hello("late")).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert_eq!(server.count(ENDED, &[("grpc.status", "RESOURCE_EXHAUSTED")]), 1);
    occupant.abort();
}
