//! What Kelvin is compared with: the contract as one writes it with tonic in an afternoon. No authentication, no
//! telemetry, no analysis; a map behind a mutex; tonic's settings, but for the windows; one current-thread runtime.

use std::{
    collections::{HashMap, VecDeque},
    fs,
    path::Path,
    sync::{Arc, Mutex},
    vec,
};

use kelvin_proto::{
    Ack, AggregateRequest, ListSensorsRequest, ListSensorsResponse, SensorAggregate, SensorReading,
    SensorRequest, SensorStats, SensorStatsRequest, ServerMessage,
    sensor_service_server::{SensorService, SensorServiceServer},
};
use tokio::net::TcpListener;
use tokio_stream::{Stream, StreamExt as _};
use tonic::{
    Request, Response, Status, Streaming,
    transport::{Identity, Server, ServerTlsConfig, server::TcpIncoming},
};

const STREAM_WINDOW: u32 = 65_535;
const CONNECTION_WINDOW: u32 = 16 << 20;

#[derive(Clone)]
struct Bare {
    sensors: Arc<Mutex<HashMap<String, VecDeque<SensorReading>>>>,
    readings_per_sensor: u64,
}

impl Bare {
    fn store(&self, reading: SensorReading) {
        let mut sensors = self.sensors.lock().expect("never poisoned");
        let readings = sensors.entry(reading.sensor_id.clone()).or_default();
        if readings.len() as u64 == self.readings_per_sensor {
            readings.pop_front();
        }
        readings.push_back(reading);
    }
}

#[tonic::async_trait]
impl SensorService for Bare {
    async fn send_single_reading(&self, request: Request<SensorReading>) -> Result<Response<Ack>, Status> {
        self.store(request.into_inner());
        Ok(Response::new(Ack { message: "1 reading stored".into(), accepted: Some(1) }))
    }

    async fn stream_sensor_readings(
        &self,
        request: Request<Streaming<SensorReading>>,
    ) -> Result<Response<Ack>, Status> {
        let mut readings = request.into_inner();
        let mut accepted = 0;
        while let Some(reading) = readings.message().await? {
            self.store(reading);
            accepted += 1;
        }
        Ok(Response::new(Ack { message: format!("{accepted} readings stored"), accepted: Some(accepted) }))
    }

    type GetSensorReadingsStream = tokio_stream::Iter<vec::IntoIter<Result<SensorReading, Status>>>;

    async fn get_sensor_readings(
        &self,
        request: Request<SensorRequest>,
    ) -> Result<Response<Self::GetSensorReadingsStream>, Status> {
        let request = request.into_inner();
        let limit = request.limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
        let sensors = self.sensors.lock().expect("never poisoned");
        let readings = sensors.get(&request.sensor_id).map_or_else(Vec::new, |readings| {
            readings.iter().skip(readings.len().saturating_sub(limit)).cloned().map(Ok).collect()
        });
        Ok(Response::new(tokio_stream::iter(readings)))
    }

    type SensorChatStream = std::pin::Pin<Box<dyn Stream<Item = Result<ServerMessage, Status>> + Send>>;

    async fn sensor_chat(
        &self,
        request: Request<Streaming<SensorReading>>,
    ) -> Result<Response<Self::SensorChatStream>, Status> {
        let bare = self.clone();
        Ok(Response::new(Box::pin(request.into_inner().map(move |reading| {
            let reading = reading?;
            let server_time = reading.timestamp;
            let message = format!("stored {:.2} °C of {}", reading.temperature, reading.sensor_id);
            bare.store(reading);
            Ok(ServerMessage { message, server_time, severity: None, accepted: None })
        }))))
    }

    type AggregateSensorReadingsStream = tokio_stream::Empty<Result<SensorAggregate, Status>>;

    async fn aggregate_sensor_readings(
        &self,
        _: Request<AggregateRequest>,
    ) -> Result<Response<Self::AggregateSensorReadingsStream>, Status> {
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

/// tonic's server, with TLS.
pub(crate) fn server(files: &Path) -> Result<Server, Box<dyn std::error::Error>> {
    let file = |name| fs::read(files.join(name));
    let identity = Identity::from_pem(file("server.crt")?, file("server.key")?);
    Ok(Server::builder()
        // With tonic's own windows, one message a frame ends the connection: ENHANCE_YOUR_CALM.
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .tls_config(ServerTlsConfig::new().identity(identity))?)
}

pub(crate) fn service(readings_per_sensor: u64) -> SensorServiceServer<impl SensorService> {
    SensorServiceServer::new(Bare { sensors: Arc::default(), readings_per_sensor })
}

pub(crate) fn incoming(listener: TcpListener) -> TcpIncoming {
    TcpIncoming::from(listener).with_nodelay(Some(true))
}
