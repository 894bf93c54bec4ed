//! A server of the first version of the API, without later additions.

use std::{
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex},
};

use kelvin_client::Config;
use kelvin_proto::{
    Ack, AggregateRequest, CallType, ListSensorsRequest, ListSensorsResponse, SensorAggregate, SensorReading,
    SensorRequest, SensorStats, SensorStatsRequest, ServerMessage,
    sensor_service_server::{SensorService, SensorServiceServer},
};
use kelvin_testing::eventually;
use tokio::net::TcpListener;
use tokio_stream::{Stream, StreamExt as _, wrappers::TcpListenerStream};
use tonic::{Request, Response, Status, Streaming, transport::Server};

use crate::setup::{SENDERS, TestClient};

/// Stores all readings, and responds as the first version of the API does.
#[derive(Clone, Default)]
struct OldServer(Arc<Mutex<Vec<SensorReading>>>);

impl OldServer {
    fn store(&self, reading: SensorReading) -> usize {
        let mut readings = self.0.lock().unwrap();
        readings.push(reading);
        readings.len()
    }

    async fn serve(self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = Server::builder().add_service(SensorServiceServer::new(self));
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        address
    }
}

type BoxStream<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl SensorService for OldServer {
    type GetSensorReadingsStream = BoxStream<SensorReading>;
    type SensorChatStream = BoxStream<ServerMessage>;
    type AggregateSensorReadingsStream = BoxStream<SensorAggregate>;

    async fn send_single_reading(&self, request: Request<SensorReading>) -> Result<Response<Ack>, Status> {
        let message = format!("reading {}", self.store(request.into_inner()));
        Ok(Response::new(Ack { message, accepted: None }))
    }

    async fn stream_sensor_readings(
        &self,
        request: Request<Streaming<SensorReading>>,
    ) -> Result<Response<Ack>, Status> {
        let mut readings = request.into_inner();
        while let Some(reading) = readings.message().await? {
            self.store(reading);
        }
        Ok(Response::new(Ack { message: "thanks".into(), accepted: None }))
    }

    async fn get_sensor_readings(
        &self,
        request: Request<SensorRequest>,
    ) -> Result<Response<BoxStream<SensorReading>>, Status> {
        let SensorRequest { sensor_id, .. } = request.into_inner();
        let readings = self.0.lock().unwrap().clone();
        let of_sensor = readings.into_iter().filter(move |reading| reading.sensor_id == sensor_id);
        Ok(Response::new(Box::pin(tokio_stream::iter(of_sensor).map(Ok))))
    }

    async fn sensor_chat(
        &self,
        request: Request<Streaming<SensorReading>>,
    ) -> Result<Response<BoxStream<ServerMessage>>, Status> {
        let server = self.clone();
        let responses = request.into_inner().map(move |reading| {
            let message = format!("reading {}", server.store(reading?));
            Ok(ServerMessage { message, server_time: 1, severity: None, accepted: None })
        });
        Ok(Response::new(Box::pin(responses)))
    }

    async fn aggregate_sensor_readings(
        &self,
        _: Request<AggregateRequest>,
    ) -> Result<Response<Self::AggregateSensorReadingsStream>, Status> {
        Err(Status::unimplemented("there was no such call"))
    }

    async fn get_sensor_stats(
        &self,
        _: Request<SensorStatsRequest>,
    ) -> Result<Response<SensorStats>, Status> {
        Err(Status::unimplemented("there was no such call"))
    }

    async fn list_sensors(
        &self,
        _: Request<ListSensorsRequest>,
    ) -> Result<Response<ListSensorsResponse>, Status> {
        Err(Status::unimplemented("there was no such call"))
    }
}

fn client(rpc: CallType, address: SocketAddr, follow: &str) -> TestClient {
    let config = Config::from_pairs([
        ("KELVIN_CLIENT_RPC", rpc.name()),
        ("KELVIN_SERVER", &format!("http://{address}")),
        ("KELVIN_SENSOR_PREFIX", "old-"),
        ("KELVIN_SENSORS", "3"),
        ("KELVIN_FOLLOW", follow),
        ("KELVIN_INTERVAL_MIN", "2ms"),
        ("KELVIN_INTERVAL_MAX", "10ms"),
        ("KELVIN_STREAM_DURATION", "100ms"),
    ]);
    TestClient::start(config.unwrap())
}

#[tokio::test]
async fn every_client_works_with_old_server() {
    let server = OldServer::default();
    let address = server.clone().serve().await;
    let mut stored = 0;
    for rpc in SENDERS {
        let mut client = client(rpc, address, "false");
        eventually("readings are acknowledged", async || client.readings("acknowledged") > 50).await;
        client.stop().await;
        assert_eq!(client.readings("acknowledged"), client.readings("measured"), "{rpc}");
        assert_eq!(client.readings("resent"), 0, "{rpc}");
        stored += client.readings("acknowledged");
        assert_eq!(server.0.lock().unwrap().len() as u64, stored, "{rpc}");
    }
    for follow in ["false", "true"] {
        let mut client = client(CallType::ServerStreaming, address, follow);
        eventually("all readings are read", async || client.readings("received") >= stored).await;
        client.stop().await;
        assert_eq!(client.readings("received"), stored);
    }
}
