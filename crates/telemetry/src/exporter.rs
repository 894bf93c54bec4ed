//! OTLP exporters and the thread that their transports run on.

use std::{io, thread};

use opentelemetry_otlp::{
    LogExporter, MetricExporter, Protocol as Encoding, SpanExporter, WithExportConfig, WithHttpConfig,
    WithTonicConfig,
};
use tokio::{
    runtime::{self, Handle},
    sync::oneshot,
};

use crate::{
    TelemetryError, channel::connect, destination::Destination, environment::Protocol, http_client::Client,
};

/// A thread with a runtime for connections to collectors, until it is dropped.
#[derive(Debug)]
pub(crate) struct Transports {
    runtime: Handle,
    _until_dropped: oneshot::Sender<()>,
}

/// An exporter of any signal: their builders have no trait in common.
macro_rules! exporter {
    ($exporter:ty, $destination:expr, $runtime:expr) => {{
        let (destination, runtime): (&Destination, &Handle) = ($destination, $runtime);
        let target = &destination.target;
        let builder = <$exporter>::builder();
        Ok(match target.protocol {
            Protocol::Grpc => {
                // A channel starts its worker on the runtime around it.
                let _runtime = runtime.enter();
                builder
                    .with_tonic()
                    .with_channel(connect(destination)?)
                    .with_timeout(target.timeout)
                    .build()?
            }
            Protocol::Http => builder
                .with_http()
                .with_protocol(Encoding::HttpBinary)
                .with_http_client(Client::new(destination, runtime.clone()))
                .with_endpoint(&target.endpoint)
                .with_timeout(target.timeout)
                .build()?,
        })
    }};
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
        exporter!(SpanExporter, destination, &self.runtime)
    }

    pub(crate) fn metrics(&self, destination: &Destination) -> Result<MetricExporter, TelemetryError> {
        exporter!(MetricExporter, destination, &self.runtime)
    }

    pub(crate) fn logs(&self, destination: &Destination) -> Result<LogExporter, TelemetryError> {
        exporter!(LogExporter, destination, &self.runtime)
    }
}
