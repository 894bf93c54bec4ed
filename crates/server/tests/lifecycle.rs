//! How calls, connections and the server end.

mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use kelvin_proto::{SensorRequest, Severity};
use kelvin_testing::was_never_processed;
use support::{PATIENCE, TOKEN, TestServer, reading, until_stored};
use tokio::{
    sync::mpsc::{self, Sender},
    time::timeout,
};
use tokio_stream::{StreamExt as _, wrappers::ReceiverStream};
use tonic::{
    Code, Request,
    transport::{Endpoint, Uri},
};
use tonic_health::{
    ServingStatus,
    pb::{HealthCheckRequest, health_client::HealthClient},
};

fn endless<T>() -> (Sender<T>, ReceiverStream<T>) {
    let (sender, receiver) = mpsc::channel(16);
    (sender, ReceiverStream::new(receiver))
}

#[tokio::test]
async fn drain_ends_streams_and_loses_nothing() {
    let mut server = TestServer::start(&[]).await;
    let mut client = server.client().await;

    let (sender, readings) = endless();
    let mut uploader = client.clone();
    let upload = tokio::spawn(async move { uploader.stream_sensor_readings(readings).await });
    for n in 0..10 {
        sender.send(reading("upload", 20.0, n)).await.unwrap();
    }
    until_stored(&client, "upload", 10).await;

    let (chat_sender, readings) = endless();
    let mut chat = client.sensor_chat(readings).await.unwrap().into_inner();
    chat_sender.send(reading("chat", 20.0, 1)).await.unwrap();
    assert_eq!(chat.next().await.unwrap().unwrap().severity(), Severity::Status);

    let follow = SensorRequest { sensor_id: "upload".into(), follow: true, ..SensorRequest::default() };
    let mut following = client.get_sensor_readings(follow).await.unwrap().into_inner();
    for _ in 0..10 {
        following.next().await.unwrap().unwrap();
    }

    server.shut_down();
    let status = upload.await.unwrap().unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.message().contains("10 readings of this call are stored"), "{}", status.message());
    assert!(chat.next().await.is_none(), "a chat ends OK");
    assert!(following.next().await.is_none(), "a call that follows ends OK");
    server.ended().await.unwrap();
}

#[tokio::test]
async fn draining_server_is_not_ready_and_still_serves() {
    let mut server = TestServer::start(&[("KELVIN_DRAIN_DELAY", "2s")]).await;
    let health = |service: &str| HealthCheckRequest { service: service.to_owned() };
    let mut checker = HealthClient::new(server.connect().await);
    for service in ["", "SensorService"] {
        let answer = checker.check(health(service)).await.unwrap().into_inner();
        assert_eq!(answer.status, i32::from(ServingStatus::Serving as u8));
    }
    assert_eq!(checker.check(health("unknown")).await.unwrap_err().code(), Code::NotFound);
    let mut watch = checker.watch(health("SensorService")).await.unwrap().into_inner();
    assert_eq!(watch.next().await.unwrap().unwrap().status, i32::from(ServingStatus::Serving as u8));

    server.shut_down();
    assert_eq!(watch.next().await.unwrap().unwrap().status, i32::from(ServingStatus::NotServing as u8));
    assert!(kelvin_app::health::check(server.health).await.unwrap_err().to_string().contains("draining"));
    server.client().await.send_single_reading(reading("cellar", 20.0, 1)).await.unwrap();
    assert_eq!(watch.next().await.unwrap().unwrap_err().code(), Code::Unavailable);
    server.ended().await.unwrap();
}

#[tokio::test]
async fn drain_ends_at_its_timeout() {
    let mut server = TestServer::start(&[("KELVIN_DRAIN_TIMEOUT", "100ms")]).await;
    let mut client = server.client().await;
    // A caller that begins a short call and never finishes its request.
    let (sender, readings) = endless();
    let mut grpc = tonic::client::Grpc::new(server.connect().await);
    grpc.ready().await.unwrap();
    let mut request = Request::new(readings);
    request.metadata_mut().insert("authorization", support::TOKEN.parse().unwrap());
    let path = "/SensorService/SendSingleReading".parse().unwrap();
    let codec = tonic_prost::ProstCodec::<_, kelvin_proto::Ack>::default();
    let call = tokio::spawn(async move { grpc.client_streaming(request, path, codec).await });
    sender.send(reading("cellar", 20.0, 1)).await.unwrap();
    client.send_single_reading(reading("cellar", 20.0, 1)).await.unwrap();

    server.shut_down();
    server.ended().await.unwrap();
    timeout(PATIENCE, call).await.unwrap().unwrap().unwrap_err();
}

#[tokio::test]
async fn streams_end_at_their_age() {
    let server = TestServer::start(&[("KELVIN_MAX_STREAM_AGE", "200ms")]).await;
    let mut client = server.client().await;
    let (sender, readings) = endless();
    sender.send(reading("upload", 20.0, 1)).await.unwrap();
    let status = client.stream_sensor_readings(readings).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.message().contains("1 reading of this call is stored"), "{}", status.message());

    let (sender, readings) = endless();
    let mut chat = client.sensor_chat(readings).await.unwrap().into_inner();
    sender.send(reading("chat", 20.0, 1)).await.unwrap();
    chat.next().await.unwrap().unwrap();
    assert!(chat.next().await.is_none());

    let follow = SensorRequest { sensor_id: "chat".into(), follow: true, ..SensorRequest::default() };
    let mut following = client.get_sensor_readings(follow).await.unwrap().into_inner();
    following.next().await.unwrap().unwrap();
    assert!(following.next().await.is_none());
}

fn with_deadline<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("grpc-timeout", "100m".parse().unwrap());
    request
}

#[tokio::test]
async fn calls_end_at_their_deadline() {
    let server = TestServer::start(&[]).await;
    // Past tonic's channel, whose own clock would end the call on this side.
    let mut client = server.bare_client().await;
    let (sender, readings) = endless();
    sender.send(reading("upload", 20.0, 1)).await.unwrap();
    let begun = Instant::now();
    let status = client.stream_sensor_readings(with_deadline(readings)).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert!(status.message().contains("1 reading of this call is stored"), "{}", status.message());
    assert!(begun.elapsed() >= Duration::from_millis(100));

    let (_sender, readings) = endless();
    let mut chat = client.sensor_chat(with_deadline(readings)).await.unwrap().into_inner();
    assert_eq!(chat.next().await.unwrap().unwrap_err().code(), Code::DeadlineExceeded);

    let follow = SensorRequest { sensor_id: "attic".into(), follow: true, ..SensorRequest::default() };
    let mut following = client.get_sensor_readings(with_deadline(follow)).await.unwrap().into_inner();
    assert_eq!(following.next().await.unwrap().unwrap_err().code(), Code::DeadlineExceeded);
}

#[tokio::test]
async fn connection_age_limit_neither_loses_nor_repeats_calls() {
    let server = TestServer::start(&[("KELVIN_MAX_CONNECTION_AGE", "100ms")]).await;
    let (_sender, idle) = server.bare_connection().await;
    timeout(PATIENCE, idle).await.expect("the server ends it").unwrap();

    let connections = Arc::new(AtomicUsize::new(0));
    let connector = tower::service_fn({
        let (address, tls, connections) =
            (server.address, server.files.client_tls(None), connections.clone());
        move |_: Uri| {
            connections.fetch_add(1, Relaxed);
            support::dial(address, Arc::clone(&tls))
        }
    });
    let endpoint = Endpoint::from_static("http://localhost");
    let mut client = support::client(endpoint.connect_with_connector(connector).await.unwrap(), TOKEN);
    let (sender, readings) = endless();
    let mut chat = client.sensor_chat(readings).await.unwrap().into_inner();
    let mut done = 0;
    let calls = async {
        // A third connection is made when the second, which took calls, is replaced in its turn.
        while connections.load(Relaxed) < 3 {
            match client.send_single_reading(reading("cellar", 20.0, 1)).await {
                Ok(_) => done += 1,
                // The client's side gives up calls that it has not sent when it meets the GOAWAY.
                Err(status) if was_never_processed(&status) => {}
                Err(status) => panic!("{status}"),
            }
        }
    };
    timeout(PATIENCE, calls).await.expect("connections are replaced");
    assert!(done > 0);
    until_stored(&server.client().await, "cellar", done).await;
    // A stream that was open goes on.
    sender.send(reading("chat", 20.0, 1)).await.unwrap();
    assert_eq!(chat.next().await.unwrap().unwrap().accepted, Some(1));
}
