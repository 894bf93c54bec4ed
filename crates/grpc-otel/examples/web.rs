//! One port for gRPC, grpc-web and HTTP: axum, tonic-web and tower-http beside grpc-otel. `cargo run --example web`
//! makes a call of each kind and prints what was counted.

mod greeter;
mod polite;

use std::{error::Error, net::Ipv4Addr};

use axum::{Router, routing::get};
use greeter::{
    FILE_DESCRIPTOR_SET, HelloRequest, greeter_client::GreeterClient, greeter_server::GreeterServer,
};
use grpc_otel::{GrpcOtel, Methods};
use http_body_util::BodyExt as _;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use polite::Polite;
use prost::Message as _;
use tokio::net::TcpListener;
use tonic::{Request, service::Routes, transport::Channel};
use tonic_web::GrpcWebLayer;
use tower::{ServiceBuilder, ServiceExt as _};
use tower_http::trace::TraceLayer;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let registry = prometheus::Registry::new();
    let reader = opentelemetry_prometheus::exporter().with_registry(registry.clone()).build()?;
    let meters = SdkMeterProvider::builder().with_reader(reader).build();
    let otel = GrpcOtel::builder().meter_provider(&meters).build();

    // From the outside in: tower-http sees everything, tonic-web translates, grpc-otel reads gRPC.
    let layers = ServiceBuilder::new()
        .layer(TraceLayer::new_for_http())
        .layer(GrpcWebLayer::new())
        .layer(otel.server_layer(Methods::from_descriptor_set(FILE_DESCRIPTOR_SET)?));
    let grpc = Routes::new(GreeterServer::new(Polite)).into_axum_router().layer(layers);
    let metrics = get(async move || {
        prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap_or_default()
    });
    let router = Router::new().route("/metrics", metrics).merge(grpc);

    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    let browser = router.clone();
    tokio::spawn(async { axum::serve(listener, router).await });

    let channel = Channel::from_shared(format!("http://{address}"))?.connect_lazy();
    // An interceptor around the layer, as for tokens.
    let channel = ServiceBuilder::new().layer(otel.client_layer(&address.to_string())).service(channel);
    let mut client = GreeterClient::with_interceptor(channel, |mut request: Request<()>| {
        request
            .metadata_mut()
            .insert("authorization", tonic::metadata::MetadataValue::from_static("Bearer x"));
        Ok(request)
    });
    let reply = client.say_hello(HelloRequest { name: "gRPC".into() }).await?;
    println!("{}", reply.into_inner().message);

    let reply =
        browser.clone().oneshot(of_browser("grpc-web")?).await?.into_body().collect().await?.to_bytes();
    println!("{} bytes for the browser", reply.len());
    let metrics = browser.oneshot(http::Request::get("/metrics").body(axum::body::Body::empty())?).await?;
    println!("{}", String::from_utf8_lossy(&metrics.into_body().collect().await?.to_bytes()));
    Ok(())
}

/// What a browser sends: a frame of gRPC by HTTP/1.1.
fn of_browser(name: &str) -> Result<http::Request<axum::body::Body>, http::Error> {
    let message = HelloRequest { name: name.to_owned() }.encode_to_vec();
    let length = u8::try_from(message.len()).unwrap_or_default();
    let frame = [&[0, 0, 0, 0, length][..], &message].concat();
    http::Request::post("/helloworld.Greeter/SayHello")
        .header(http::header::CONTENT_TYPE, "application/grpc-web+proto")
        .body(frame.into())
}
