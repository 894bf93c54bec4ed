//! The layers where other code says what types it takes: interceptors, one service, axum.

use std::{fmt, io};

use http::{Request, Response};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tonic::{
    Code, Status,
    body::Body,
    service::{LayerExt as _, Routes},
    transport::{Endpoint, Server},
};
use tower::{BoxError, Layer as _, ServiceBuilder, ServiceExt as _, load_shed::error::Overloaded};

use crate::{
    greeter::greeter_client::GreeterClient,
    observed::Observed,
    support::{TARGET, client, greeter, hello, listen, methods, serve},
};

const DURATION: &str = "grpc.server.call.duration";

async fn greet(endpoint: &Endpoint) {
    let mut greeter = client(&grpc_otel::GrpcOtel::builder().build(), endpoint);
    assert_eq!(greeter.say_hello(hello("world")).await.unwrap().get_ref().message, "Hello world");
    assert_eq!(greeter.say_hello(hello("fail 5")).await.unwrap_err().code(), Code::NotFound);
}

fn counts(server: &Observed) -> [u64; 2] {
    ["OK", "NOT_FOUND"].map(|status| server.count(DURATION, &[("grpc.status", status)]))
}

#[tokio::test]
async fn calls_refused_by_outer_interceptor_are_not_counted() {
    let caller = Observed::new();
    let endpoint = serve(&grpc_otel::GrpcOtel::builder().build()).await;
    let otel = caller.builder().build();
    let channel = ServiceBuilder::new().layer(otel.client_layer(TARGET)).service(endpoint.connect_lazy());
    let mut refuse = true;
    let mut greeter = GreeterClient::with_interceptor(channel, move |request: tonic::Request<()>| {
        let refused = std::mem::take(&mut refuse);
        if refused { Err(tonic::Status::unauthenticated("no token")) } else { Ok(request) }
    });
    assert_eq!(greeter.say_hello(hello("world")).await.unwrap_err().code(), Code::Unauthenticated);
    assert_eq!(greeter.say_hello(hello("world")).await.unwrap().get_ref().message, "Hello world");
    assert_eq!(caller.count("grpc.client.call.duration", &[("grpc.status", "OK")]), 1);
    assert_eq!(caller.count("grpc.client.call.duration", &[]), 1);
}

#[tokio::test]
async fn layer_around_one_service_counts_its_calls() {
    let server = Observed::new();
    let layer = server.builder().build().server_layer(methods());
    let (endpoint, incoming) = listen().await;
    let one = Server::builder().add_service(layer.layer(greeter()));
    tokio::spawn(one.serve_with_incoming(incoming));
    greet(&endpoint).await;
    assert_eq!(counts(&server), [1, 1]);

    let (endpoint, incoming) = listen().await;
    let named = Server::builder().add_service(ServiceBuilder::new().layer(layer).named_layer(greeter()));
    tokio::spawn(named.serve_with_incoming(incoming));
    greet(&endpoint).await;
    assert_eq!(counts(&server), [2, 2]);
}

#[tokio::test]
async fn layer_on_axum_router_counts_calls_and_leaves_http_alone() {
    let server = Observed::new();
    let page = tower::service_fn(|_: Request<_>| async {
        Ok::<_, std::convert::Infallible>(Response::new("a page".to_owned()))
    });
    let router = Routes::new(greeter()).into_axum_router().route_service("/page", page);
    let router = router.layer(server.builder().build().server_layer(methods()));
    let (endpoint, incoming) = listen().await;
    let server_of_both = Server::builder().accept_http1(true).add_routes(Routes::from(router));
    tokio::spawn(server_of_both.serve_with_incoming(incoming));
    greet(&endpoint).await;

    let mut connection = TcpStream::connect(endpoint.uri().authority().unwrap().as_str()).await.unwrap();
    connection.write_all(b"GET /page HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("a page"), "{answer}");

    assert_eq!(counts(&server), [1, 1]);
    assert_eq!(server.count("grpc.server.call.started", &[]), 2);
    assert_eq!(server.spans().len(), 2);
}

/// An error of another type that has tonic's as its source.
#[derive(Debug)]
struct Wrapping(Status);

impl fmt::Display for Wrapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("wrapping")
    }
}

impl std::error::Error for Wrapping {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

type Row = (fn() -> BoxError, fn(&BoxError) -> bool, &'static str);

#[tokio::test]
async fn boxed_error_of_inner_layer_keeps_its_type_and_sets_code() {
    let rows: [Row; 5] = [
        (|| Overloaded::new().into(), |error| error.is::<Overloaded>(), "RESOURCE_EXHAUSTED"),
        (|| h2::Error::from(h2::Reason::CANCEL).into(), |error| error.is::<h2::Error>(), "CANCELLED"),
        (|| Status::not_found("absent").into(), |error| error.is::<Status>(), "NOT_FOUND"),
        (|| Wrapping(Status::aborted("")).into(), |error| error.is::<Wrapping>(), "ABORTED"),
        (|| io::Error::other("broken").into(), |error| error.is::<io::Error>(), "UNKNOWN"),
    ];
    for (make, is_same, name) in rows {
        let server = Observed::new();
        let inner = tower::service_fn(move |_: Request<_>| async move { Err::<Response<Body>, _>(make()) });
        let layered = server.builder().build().server_layer(methods()).layer(inner);
        let request = Request::post("/").header(http::header::CONTENT_TYPE, "application/grpc");
        let error = layered.oneshot(request.body(Body::empty()).unwrap()).await.err().unwrap();
        assert!(is_same(&error), "{error:?}");
        assert_eq!(server.count(DURATION, &[("grpc.status", name)]), 1, "{name}");
    }
}
