//! Tuned tonic: the service as somebody writes it who knows tonic well. A sharded store that looks names up without
//! copying them; no authorization, telemetry or analysis.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    vec,
};

use futures_util::{Stream, StreamExt as _};
use hashbrown::HashMap;
use kelvin_proto::{
    Ack, AggregateRequest, ListSensorsRequest, ListSensorsResponse, SensorAggregate, SensorReading,
    SensorRequest, SensorStats, SensorStatsRequest, ServerMessage,
    sensor_service_server::{SensorService, SensorServiceServer},
};
use tonic::{Request, Response, Status, Streaming};

/// What every server that is compared keeps of a sensor; a server-streaming call reads all of it.
pub const READINGS_PER_SENSOR: u64 = 2000;

const SHARDS: usize = 128;

type Readings = VecDeque<(f64, i64)>;

#[derive(Clone)]
struct Tuned {
    shards: Arc<[Mutex<HashMap<String, Readings>>]>,
    readings_per_sensor: u64,
}

/// Returns the generated service; it keeps the newest `readings_per_sensor`.
#[must_use]
pub fn service(readings_per_sensor: u64) -> SensorServiceServer<impl SensorService> {
    let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
    SensorServiceServer::new(Tuned { shards, readings_per_sensor })
}

impl Tuned {
    fn shard(&self, id: &str) -> &Mutex<HashMap<String, Readings>> {
        // FNV-1a: quick for short names, and spread enough for 128 shards.
        let hash = id.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
        });
        &self.shards[usize::try_from(hash >> 57).unwrap_or_default() % SHARDS]
    }

    fn store(&self, reading: &SensorReading) {
        let mut shard = self.shard(&reading.sensor_id).lock().unwrap_or_else(PoisonError::into_inner);
        let readings = shard.entry_ref(reading.sensor_id.as_str()).or_default();
        if readings.len() as u64 == self.readings_per_sensor {
            readings.pop_front();
        }
        readings.push_back((reading.temperature, reading.timestamp));
    }
}

#[tonic::async_trait]
impl SensorService for Tuned {
    async fn send_single_reading(&self, request: Request<SensorReading>) -> Result<Response<Ack>, Status> {
        self.store(request.get_ref());
        Ok(Response::new(Ack { message: "stored 1 reading".into(), accepted: Some(1) }))
    }

    async fn stream_sensor_readings(
        &self,
        request: Request<Streaming<SensorReading>>,
    ) -> Result<Response<Ack>, Status> {
        let mut readings = request.into_inner();
        let mut accepted = 0;
        while let Some(reading) = readings.message().await? {
            self.store(&reading);
            accepted += 1;
        }
        Ok(Response::new(Ack { message: format!("stored {accepted} readings"), accepted: Some(accepted) }))
    }

    type GetSensorReadingsStream = futures_util::stream::Iter<vec::IntoIter<Result<SensorReading, Status>>>;

    async fn get_sensor_readings(
        &self,
        request: Request<SensorRequest>,
    ) -> Result<Response<Self::GetSensorReadingsStream>, Status> {
        let SensorRequest { sensor_id, limit, .. } = request.into_inner();
        let limit = limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
        let shard = self.shard(&sensor_id).lock().unwrap_or_else(PoisonError::into_inner);
        let readings = shard.get(&sensor_id).map_or_else(Vec::new, |readings| {
            let newest = readings.iter().skip(readings.len().saturating_sub(limit));
            let message = |&(temperature, timestamp): &(f64, i64)| {
                Ok(SensorReading { sensor_id: sensor_id.clone(), temperature, timestamp })
            };
            newest.map(message).collect()
        });
        Ok(Response::new(futures_util::stream::iter(readings)))
    }

    type SensorChatStream = Pin<Box<dyn Stream<Item = Result<ServerMessage, Status>> + Send>>;

    async fn sensor_chat(
        &self,
        request: Request<Streaming<SensorReading>>,
    ) -> Result<Response<Self::SensorChatStream>, Status> {
        let tuned = self.clone();
        let mut accepted = 0;
        Ok(Response::new(Box::pin(request.into_inner().map(move |reading| {
            let reading = reading?;
            tuned.store(&reading);
            accepted += 1;
            let message = String::from("stored");
            Ok(ServerMessage {
                message,
                server_time: reading.timestamp,
                severity: Some(0),
                accepted: Some(accepted),
            })
        }))))
    }

    type AggregateSensorReadingsStream = futures_util::stream::Empty<Result<SensorAggregate, Status>>;

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
