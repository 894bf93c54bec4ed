//! Certificates of exporters that are replaced while the program goes on.

mod common;

use std::{fs, path::Path, sync::Arc, time::Duration};

use common::{Terminator, server_config};
use kelvin_credentials::{
    OtlpTls,
    ca::{LocalCa, Usage},
};
use kelvin_telemetry::{Telemetry, receiver::Receiver};
use kelvin_testing::eventually;
use opentelemetry::{
    metrics::MeterProvider as _,
    trace::{Tracer as _, TracerProvider as _},
};
use rustls::{RootCertStore, ServerConfig, crypto::ring, server::WebPkiClientVerifier};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use tempfile::TempDir;
use tokio::task::spawn_blocking;

/// A server with a certificate of the CA, for clients with one.
fn config(ca: &LocalCa) -> Arc<ServerConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca.pem().as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(ring::default_provider());
    let clients = WebPkiClientVerifier::builder_with_provider(roots.into(), provider).build().unwrap();
    server_config(&ca.issue(Usage::Server, &["localhost"]).unwrap(), clients)
}

/// The CA and a client certificate of it.
fn write(ca: &LocalCa, folder: &Path) {
    let pair = ca.issue(Usage::Client, &["exporter"]).unwrap();
    pair.write(&folder.join("cert.pem"), &folder.join("key.pem")).unwrap();
    fs::write(folder.join("ca.pem"), ca.pem()).unwrap();
}

async fn export_across_a_rotation(protocol: &str) {
    let receiver = Receiver::start().await.unwrap();
    let plain = if protocol == "grpc" { receiver.grpc_endpoint() } else { receiver.http_endpoint() };
    let [old, new] = [LocalCa::generate().unwrap(), LocalCa::generate().unwrap()];
    let terminator = Terminator::start(config(&old), plain.replace("http://", "")).await;
    let folder = TempDir::new().unwrap();
    write(&old, folder.path());
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();

    let tls = OtlpTls::default();
    let loader = tls.clone();
    let telemetry = Telemetry::builder("rotation", "1.0.0")
        .tls(move |files| loader.load(files))
        .variable("OTEL_EXPORTER_OTLP_ENDPOINT", &format!("https://localhost:{}", terminator.port))
        .variable("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
        .variable("OTEL_EXPORTER_OTLP_CERTIFICATE", &file("ca.pem"))
        .variable("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", &file("cert.pem"))
        .variable("OTEL_EXPORTER_OTLP_CLIENT_KEY", &file("key.pem"))
        .build()
        .unwrap();
    tokio::spawn(tls.watch(Duration::from_millis(20), &telemetry.meter_provider().meter("test")));
    until_exported(&telemetry, &receiver, "before").await;

    terminator.config.send_replace(config(&new));
    write(&new, folder.path());
    until_exported(&telemetry, &receiver, "after").await;
    telemetry.shutdown(Duration::from_secs(5)).await;
}

/// Ends spans of that name until one has arrived: those of failed exports are lost.
async fn until_exported(telemetry: &Telemetry, receiver: &Receiver, name: &'static str) {
    let provider = telemetry.tracer_provider().unwrap();
    eventually(&format!("a span named {name} is exported"), async || {
        provider.tracer("test").in_span(name, |_| ());
        let provider = provider.clone();
        let _ = spawn_blocking(move || provider.force_flush()).await.unwrap();
        receiver.look(|received| received.spans().any(|(_, span)| span.name == name))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exporter_by_grpc_uses_rotated_files() {
    export_across_a_rotation("grpc").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exporter_by_http_uses_rotated_files() {
    export_across_a_rotation("http/protobuf").await;
}

#[test]
fn https_without_a_loader_is_an_error() {
    let builder = Telemetry::builder("none", "1.0.0");
    let error =
        builder.variable("OTEL_EXPORTER_OTLP_ENDPOINT", "https://localhost:4317").build().unwrap_err();
    assert!(error.to_string().contains("http://"), "{error}");
}
