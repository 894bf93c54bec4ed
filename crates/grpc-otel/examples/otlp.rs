//! Metrics and spans to a collector, and log lines with the ids of their trace, over TLS between client and server:
//! `OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4317 cargo run --example otlp`.

mod greeter;
mod polite;

use std::{error::Error, net::Ipv4Addr};

use greeter::{
    FILE_DESCRIPTOR_SET, HelloRequest, greeter_client::GreeterClient, greeter_server::GreeterServer,
};
use grpc_otel::{GrpcOtel, Methods};
use opentelemetry_otlp::{MetricExporter, SpanExporter};
use opentelemetry_sdk::{
    metrics::SdkMeterProvider, propagation::TraceContextPropagator, trace::SdkTracerProvider,
};
use polite::Polite;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Identity, Server, ServerTlsConfig};
use tower::ServiceBuilder;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // A subscriber that knows nothing of OpenTelemetry: `tracing_spans` gives it the ids.
    tracing_subscriber::fmt().with_ansi(false).init();
    let meters = SdkMeterProvider::builder()
        .with_periodic_exporter(MetricExporter::builder().with_tonic().build()?)
        .build();
    let tracers = SdkTracerProvider::builder()
        .with_batch_exporter(SpanExporter::builder().with_tonic().build()?)
        .build();
    let otel = GrpcOtel::builder()
        .meter_provider(&meters)
        .tracer_provider(&tracers)
        .propagator(TraceContextPropagator::new())
        .tracing_spans(true)
        .build();

    let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    let identity = Identity::from_pem(pair.cert.pem(), pair.signing_key.serialize_pem());
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let port = listener.local_addr()?.port();
    let server = Server::builder()
        .tls_config(ServerTlsConfig::new().identity(identity))?
        .layer(otel.server_layer(Methods::from_descriptor_set(FILE_DESCRIPTOR_SET)?))
        .add_service(GreeterServer::new(Polite));
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));

    let uri = format!("https://localhost:{port}");
    let trust = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pair.cert.pem()));
    let channel = Channel::from_shared(uri.clone())?.tls_config(trust)?.connect_lazy();
    let channel = ServiceBuilder::new().layer(otel.client_layer(&uri)).service(channel);
    let reply = GreeterClient::new(channel).say_hello(HelloRequest { name: "OTLP".into() }).await?;
    println!("{}", reply.into_inner().message);

    tokio::task::spawn_blocking(move || tracers.shutdown().and(meters.shutdown())).await??;
    Ok(())
}
