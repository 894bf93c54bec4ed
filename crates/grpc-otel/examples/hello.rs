//! tonic's hello world with telemetry, which it prints: `cargo run --example hello`.

mod greeter;

use std::{error::Error, net::Ipv4Addr};

use greeter::{
    FILE_DESCRIPTOR_SET, HelloReply, HelloRequest,
    greeter_client::GreeterClient,
    greeter_server::{Greeter, GreeterServer},
};
use grpc_otel::{GrpcOtel, Methods};
use opentelemetry_sdk::{
    metrics::SdkMeterProvider, propagation::TraceContextPropagator, trace::SdkTracerProvider,
};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{
    Request, Response, Status,
    transport::{Channel, Server},
};
use tower::ServiceBuilder;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    let meters = SdkMeterProvider::builder()
        .with_periodic_exporter(opentelemetry_stdout::MetricExporter::default())
        .build();
    let tracers = SdkTracerProvider::builder()
        .with_batch_exporter(opentelemetry_stdout::SpanExporter::default())
        .build();

    // The five lines.
    let otel = GrpcOtel::builder().meter_provider(&meters).tracer_provider(&tracers);
    let otel = otel.propagator(TraceContextPropagator::new()).build();
    let server =
        Server::builder().layer(otel.server_layer(Methods::from_descriptor_set(FILE_DESCRIPTOR_SET)?));
    let channel = Channel::from_shared(format!("http://{address}"))?.connect_lazy();
    let channel = ServiceBuilder::new().layer(otel.client_layer(&address.to_string())).service(channel);

    let server = { server }.add_service(GreeterServer::new(MyGreeter));
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    let reply = GreeterClient::new(channel).say_hello(HelloRequest { name: "Tonic".into() }).await?;
    println!("{}", reply.into_inner().message);

    tokio::task::spawn_blocking(move || tracers.shutdown().and(meters.shutdown())).await??;
    Ok(())
}

struct MyGreeter;

#[tonic::async_trait]
impl Greeter for MyGreeter {
    async fn say_hello(&self, request: Request<HelloRequest>) -> Result<Response<HelloReply>, Status> {
        let message = format!("Hello {}!", request.into_inner().name);
        Ok(Response::new(HelloReply { message }))
    }
}
