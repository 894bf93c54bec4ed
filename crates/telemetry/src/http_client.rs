//! The HTTP client to a collector.

use std::{fs, path::Path, sync::Arc};

use async_trait::async_trait;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response, hyper::HyperClient};
use rustls::{ClientConfig, RootCertStore, crypto::ring};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use tokio::runtime::Handle;

use crate::{TelemetryError, environment::Target};

/// Sends on the exporters' runtime, whichever thread asks: the SDK's threads have no runtime.
#[derive(Debug)]
pub(crate) struct Client {
    runtime: Handle,
    client: HyperClient<HttpsConnector<HttpConnector>>,
}

impl Client {
    pub(crate) fn new(target: &Target, runtime: Handle) -> Result<Self, TelemetryError> {
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(tls(target)?).https_or_http().enable_http1().build();
        Ok(Self { runtime, client: HyperClient::new(connector, target.timeout, None) })
    }
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let client = self.client.clone();
        let sent = self.runtime.spawn(async move { client.send_bytes(request).await }).await?;
        // The exporter says no more than "network error". Under its own target this repeats as rarely as its lines.
        sent.inspect_err(|error| {
            let error = kelvin_app::error_chain(&**error);
            tracing::warn!(name: "HttpExport.Failed", target: "opentelemetry-http", error, "OTLP export over HTTP failed");
        })
    }
}

pub(crate) fn tls(target: &Target) -> Result<ClientConfig, TelemetryError> {
    let mut roots = RootCertStore::empty();
    match &target.ca {
        Some(path) => {
            for certificate in certificates(path)? {
                roots.add(certificate)?;
            }
        }
        // A system without certificates is no obstacle to plain HTTP.
        None => _ = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs),
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots);
    Ok(match &target.identity {
        Some((cert, key)) => {
            let key = PrivateKeyDer::from_pem_slice(&read(key)?)
                .map_err(|_| no(key, "holds no private key in PEM"))?;
            builder.with_client_auth_cert(certificates(cert)?, key)?
        }
        None => builder.with_no_client_auth(),
    })
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TelemetryError> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(path)?).collect();
    certificates.ok().filter(|all| !all.is_empty()).ok_or_else(|| no(path, "holds no certificate in PEM"))
}

fn no(path: &Path, problem: &str) -> TelemetryError {
    TelemetryError::File { path: path.to_owned(), problem: problem.to_owned() }
}

pub(crate) fn read(path: &Path) -> Result<Vec<u8>, TelemetryError> {
    fs::read(path).map_err(|error| TelemetryError::File {
        path: path.to_owned(),
        problem: format!("cannot be read: {error}"),
    })
}
