//! OTLP exporters and the thread that their transports run on.

use std::{collections::HashMap, io, thread};

use opentelemetry_otlp::{
    LogExporter, MetricExporter, Protocol as Encoding, SpanExporter, WithExportConfig, WithHttpConfig,
    WithTonicConfig,
};
use opentelemetry_sdk::metrics::Temporality;
use tokio::{
    runtime::{self, Handle},
    sync::oneshot,
};
use tonic::metadata::MetadataMap;

use crate::{
    TelemetryError,
    channel::connect,
    destination::Destination,
    environment::{Protocol, Target},
    http_client::Client,
};

/// A thread with a runtime for connections to collectors, until it is dropped.
#[derive(Debug)]
pub(crate) struct Transports {
    runtime: Handle,
    _until_dropped: oneshot::Sender<()>,
}

/// An exporter of any signal: their builders have no trait in common. What the SDK reads from the environment is set
/// all the same: it takes an empty variable for a value and does not trim.
macro_rules! exporter {
    ($builder:expr, $destination:expr, $runtime:expr) => {{
        let (destination, runtime): (&Destination, &Handle) = ($destination, $runtime);
        let target = &destination.target;
        Ok(match target.protocol {
            Protocol::Grpc => {
                // A channel starts its worker on the runtime around it.
                let _runtime = runtime.enter();
                let builder = $builder
                    .with_tonic()
                    .with_channel(connect(destination)?)
                    .with_timeout(target.timeout)
                    .with_metadata(metadata(target));
                match target.compression {
                    Some(compression) => builder.with_compression(compression).build()?,
                    None => builder.build()?,
                }
            }
            Protocol::Http => {
                let builder = $builder
                    .with_http()
                    .with_protocol(Encoding::HttpBinary)
                    .with_http_client(Client::new(destination, runtime.clone()))
                    .with_endpoint(target.endpoint.to_string())
                    .with_timeout(target.timeout)
                    .with_headers(encoded(target));
                match target.compression {
                    Some(compression) => builder.with_compression(compression).build()?,
                    None => builder.build()?,
                }
            }
        })
    }};
}

fn metadata(target: &Target) -> MetadataMap {
    MetadataMap::from_headers((&target.headers).try_into().unwrap_or_default())
}

/// The SDK percent-decodes the headers that it is given for HTTP.
fn encoded(target: &Target) -> HashMap<String, String> {
    target.headers.iter().map(|(name, value)| (name.clone(), value.replace('%', "%25"))).collect()
}

impl Transports {
    pub(crate) fn start() -> io::Result<Self> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (sender, dropped) = oneshot::channel::<()>();
        thread::Builder::new().name("telemetry".into()).spawn(move || {
            let _ = runtime.block_on(dropped);
            runtime.shutdown_background();
        })?;
        Ok(Self { runtime: handle, _until_dropped: sender })
    }

    pub(crate) fn spans(&self, destination: &Destination) -> Result<SpanExporter, TelemetryError> {
        exporter!(SpanExporter::builder(), destination, &self.runtime)
    }

    pub(crate) fn metrics(
        &self,
        destination: &Destination,
        temporality: Temporality,
    ) -> Result<MetricExporter, TelemetryError> {
        exporter!(MetricExporter::builder().with_temporality(temporality), destination, &self.runtime)
    }

    pub(crate) fn logs(&self, destination: &Destination) -> Result<LogExporter, TelemetryError> {
        exporter!(LogExporter::builder(), destination, &self.runtime)
    }
}
