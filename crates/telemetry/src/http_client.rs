//! The HTTP client to a collector.

use async_trait::async_trait;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response, hyper::HyperClient};
use tokio::runtime::Handle;

use crate::{destination::Destination, tls::Connector};

/// Sends on the exporters' runtime, whichever thread asks: the SDK's threads have no runtime.
#[derive(Debug)]
pub(crate) struct Client {
    runtime: Handle,
    client: HyperClient<Connector>,
}

impl Client {
    pub(crate) fn new(Destination { target, tls }: &Destination, runtime: Handle) -> Self {
        let connector = Connector::new(tls.clone(), None);
        Self { runtime, client: HyperClient::new(connector, target.timeout, None) }
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
