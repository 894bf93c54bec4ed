//! The servers that are compared.

use std::{error::Error, time::Duration, vec};

use clap::ValueEnum;
use grpc_otel::{GrpcOtel, Methods};
use kelvin_proto::{
    Ack, FILE_DESCRIPTOR_SET, ListSensorsRequest, ListSensorsResponse, SensorReading, SensorRequest,
    SensorStats, SensorStatsRequest, ServerMessage,
    sensor_service_server::{SensorService, SensorServiceServer},
};
use opentelemetry::{metrics::noop::NoopMeterProvider, trace::noop::NoopTracerProvider};
use opentelemetry_sdk::{
    error::OTelSdkResult,
    metrics::{
        PeriodicReader, SdkMeterProvider, Temporality, data::ResourceMetrics, exporter::PushMetricExporter,
    },
    propagation::TraceContextPropagator,
    trace::{Sampler, SdkTracerProvider, SpanData, SpanExporter},
};
use tokio::net::TcpListener;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Request, Response, Status, Streaming,
    transport::{Server, server::TcpIncoming},
};

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Variant {
    NoLayer,
    NoOp,
    Metrics,
    Spans10,
    Spans100,
}

impl Variant {
    /// Tells its port on stdout and serves until the process is ended.
    pub(crate) async fn serve(self) -> Result<(), Box<dyn Error>> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("{}", listener.local_addr()?.port());
        let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
        let server =
            Server::builder().initial_stream_window_size(1 << 20).initial_connection_window_size(16 << 20);
        let methods = Methods::from_descriptor_set(FILE_DESCRIPTOR_SET)?;
        let service = SensorServiceServer::new(Service);
        let meters = || {
            let reader = PeriodicReader::builder(Nowhere).with_interval(Duration::from_secs(10)).build();
            SdkMeterProvider::builder().with_reader(reader).build()
        };
        let otel = GrpcOtel::builder().propagator(TraceContextPropagator::new());
        let otel = match self {
            Self::NoLayer => {
                return Ok({ server }.add_service(service).serve_with_incoming(incoming).await?);
            }
            Self::NoOp => {
                let meters = NoopMeterProvider::new();
                GrpcOtel::builder().meter_provider(&meters).tracer_provider(&NoopTracerProvider::new())
            }
            Self::Metrics => GrpcOtel::builder().meter_provider(&meters()),
            Self::Spans10 => otel.meter_provider(&meters()).tracer_provider(&tracers(0.1)),
            Self::Spans100 => otel.meter_provider(&meters()).tracer_provider(&tracers(1.0)),
        };
        let layer = otel.build().server_layer(methods);
        Ok(server.layer(layer).add_service(service).serve_with_incoming(incoming).await?)
    }
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

/// Does as little as a service can.
struct Service;

#[tonic::async_trait]
impl SensorService for Service {
    async fn send_single_reading(&self, _: Request<SensorReading>) -> Result<Response<Ack>, Status> {
        Ok(Response::new(Ack { message: String::new(), accepted: Some(1) }))
    }

    async fn stream_sensor_readings(
        &self,
        request: Request<Streaming<SensorReading>>,
    ) -> Result<Response<Ack>, Status> {
        let mut readings = request.into_inner();
        let mut accepted = 0;
        while readings.message().await?.is_some() {
            accepted += 1;
        }
        Ok(Response::new(Ack { message: String::new(), accepted: Some(accepted) }))
    }

    type GetSensorReadingsStream = tokio_stream::Iter<vec::IntoIter<Result<SensorReading, Status>>>;

    async fn get_sensor_readings(
        &self,
        request: Request<SensorRequest>,
    ) -> Result<Response<Self::GetSensorReadingsStream>, Status> {
        let request = request.into_inner();
        let count = usize::try_from(request.limit()).unwrap_or(usize::MAX);
        let reading = SensorReading { sensor_id: request.sensor_id, temperature: 20.0, timestamp: 1 };
        Ok(Response::new(tokio_stream::iter(vec![Ok(reading); count])))
    }

    type SensorChatStream = ReceiverStream<Result<ServerMessage, Status>>;

    async fn sensor_chat(
        &self,
        _: Request<Streaming<SensorReading>>,
    ) -> Result<Response<Self::SensorChatStream>, Status> {
        Err(Status::unimplemented("not part of the comparison"))
    }

    async fn get_sensor_stats(
        &self,
        _: Request<SensorStatsRequest>,
    ) -> Result<Response<SensorStats>, Status> {
        Err(Status::unimplemented("not part of the comparison"))
    }

    async fn list_sensors(
        &self,
        _: Request<ListSensorsRequest>,
    ) -> Result<Response<ListSensorsResponse>, Status> {
        Err(Status::unimplemented("not part of the comparison"))
    }
}
