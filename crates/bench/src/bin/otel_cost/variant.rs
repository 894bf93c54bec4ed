//! The servers that are compared.

use std::{error::Error, fs, path::Path, time::Duration};

use clap::ValueEnum;
use core_affinity::CoreId;
use grpc_otel::{GrpcOtel, Methods};
use kelvin_bench::tuned::{self, READINGS_PER_SENSOR};
use kelvin_proto::FILE_DESCRIPTOR_SET;
use kelvin_testing::machine;
use opentelemetry::{metrics::noop::NoopMeterProvider, trace::noop::NoopTracerProvider};
use opentelemetry_sdk::{
    error::OTelSdkResult,
    metrics::{
        PeriodicReader, SdkMeterProvider, Temporality, data::ResourceMetrics, exporter::PushMetricExporter,
    },
    propagation::TraceContextPropagator,
    trace::{Sampler, SdkTracerProvider, SpanData, SpanExporter},
};
use tokio::{net::TcpListener, runtime::Runtime};
use tonic::transport::{Identity, Server, ServerTlsConfig, server::TcpIncoming};

const STREAM_WINDOW: u32 = 65_535;
const CONNECTION_WINDOW: u32 = 16 << 20;

/// Calls of one turn.
pub(crate) const CALLS: u32 = 5000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Variant {
    NoLayer,
    NoOp,
    /// A propagator and no tracer, as with telemetry that is off
    Off,
    Metrics,
    Spans10,
    Spans100,
}

impl Variant {
    /// So many instructions a call may take more than without the layer.
    pub(crate) fn goal(self) -> Option<f64> {
        match self {
            Self::NoOp => Some(600.0),
            Self::Metrics => Some(1900.0),
            Self::Spans10 => Some(3500.0),
            Self::NoLayer | Self::Off | Self::Spans100 => None,
        }
    }

    /// Tells its address on stdout and serves until the process is ended.
    pub(crate) fn serve(self, runtime: &Runtime, core: CoreId, files: &Path) -> Result<(), Box<dyn Error>> {
        // The SDK's threads begin here, before this one settles on its core: they go where there is room.
        let otel = self.otel();
        machine::pin(core)?;
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            println!("{}", listener.local_addr()?);
            let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
            let (mut server, service) = (server(files)?, tuned::service(READINGS_PER_SENSOR));
            let Some(otel) = otel else {
                return Ok(server.add_service(service).serve_with_incoming(incoming).await?);
            };
            let layer = otel.server_layer(Methods::from_descriptor_set(FILE_DESCRIPTOR_SET)?);
            Ok(server.layer(layer).add_service(service).serve_with_incoming(incoming).await?)
        })
    }

    pub(crate) fn otel(self) -> Option<GrpcOtel> {
        let otel = GrpcOtel::builder().propagator(TraceContextPropagator::new());
        let otel = match self {
            Self::NoLayer => return None,
            Self::NoOp => {
                let meters = NoopMeterProvider::new();
                GrpcOtel::builder().meter_provider(&meters).tracer_provider(&NoopTracerProvider::new())
            }
            Self::Off => otel,
            Self::Metrics => GrpcOtel::builder().meter_provider(&meters()),
            Self::Spans10 => otel.meter_provider(&meters()).tracer_provider(&tracers(0.1)),
            Self::Spans100 => otel.meter_provider(&meters()).tracer_provider(&tracers(1.0)),
        };
        Some(otel.build())
    }
}

/// tonic's server, with TLS.
fn server(files: &Path) -> Result<Server, Box<dyn Error>> {
    let file = |name| fs::read(files.join(name));
    let identity = Identity::from_pem(file("server.crt")?, file("server.key")?);
    Ok(Server::builder()
        // With tonic's own windows, one message a frame ends the connection: ENHANCE_YOUR_CALM.
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .tls_config(ServerTlsConfig::new().identity(identity))?)
}

fn meters() -> SdkMeterProvider {
    let reader = PeriodicReader::builder(Nowhere).with_interval(Duration::from_secs(10)).build();
    SdkMeterProvider::builder().with_reader(reader).build()
}

fn tracers(ratio: f64) -> SdkTracerProvider {
    SdkTracerProvider::builder()
        .with_batch_exporter(Nowhere)
        .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(ratio))))
        .build()
}

/// An exporter that is done at once: what it costs to send is not the layer's.
#[derive(Debug)]
struct Nowhere;

impl SpanExporter for Nowhere {
    async fn export(&self, _: Vec<SpanData>) -> OTelSdkResult {
        Ok(())
    }
}

impl PushMetricExporter for Nowhere {
    async fn export(&self, _: &ResourceMetrics) -> OTelSdkResult {
        Ok(())
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }

    fn temporality(&self) -> Temporality {
        Temporality::Cumulative
    }
}
