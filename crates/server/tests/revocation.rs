//! Credentials that are no longer accepted, under open calls.

mod support;

use std::{
    fs,
    time::{Duration, SystemTime},
};

use kelvin_credentials::ca::{LocalCa, Usage};
use kelvin_proto::{SensorReading, SensorRequest, sensor_service_client::SensorServiceClient};
use support::{Files, PATIENCE, TOKEN, TestServer, client, connect, reading};
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};

fn follow() -> SensorRequest {
    SensorRequest { sensor_id: "cellar".to_owned(), follow: true, ..SensorRequest::default() }
}

/// The status that an open stream ends with.
async fn end<T>(mut stream: Streaming<T>) -> Status {
    let end = async {
        while stream.message().await?.is_some() {}
        Ok(())
    };
    timeout(PATIENCE, end).await.expect("the call ends").expect_err("its caller is no longer accepted")
}

/// A stream of requests that stays open, with one reading in it.
async fn open() -> (mpsc::Sender<SensorReading>, ReceiverStream<SensorReading>) {
    let (sender, receiver) = mpsc::channel(1);
    sender.send(reading("cellar", 20.0, 1)).await.unwrap();
    (sender, ReceiverStream::new(receiver))
}

#[tokio::test]
async fn removed_token_ends_its_open_calls_and_no_others() {
    let files = Files::new();
    fs::write(files.path("tokens"), format!("{TOKEN} gateway\nanother roof\n")).unwrap();
    let server = TestServer::start_with(files, &[]).await;
    // One connection carries both callers, as behind a gateway.
    let channel = server.connect().await;
    let (mut removed, mut kept) = (client(channel.clone(), TOKEN), client(channel, "another"));
    let followed = removed.get_sensor_readings(follow()).await.unwrap().into_inner();
    let mut kept_followed = kept.get_sensor_readings(follow()).await.unwrap().into_inner();
    let (_chat_open, requests) = open().await;
    let mut chat = removed.sensor_chat(requests).await.unwrap().into_inner();
    chat.message().await.unwrap().unwrap();
    let (_upload_open, requests) = open().await;
    let mut uploader = removed.clone();
    let upload = tokio::spawn(async move { uploader.stream_sensor_readings(requests).await });
    kept_followed.message().await.unwrap().unwrap();
    kept_followed.message().await.unwrap().unwrap();

    fs::write(server.files.path("tokens"), "another roof\n").unwrap();
    let upload = timeout(PATIENCE, upload).await.expect("the call ends").unwrap().unwrap_err();
    for status in [end(followed).await, end(chat).await, upload] {
        assert_eq!(status.code(), Code::Unauthenticated, "{status}");
        assert!(status.message().contains("token of this call was removed"), "{status}");
    }
    let refused = removed.send_single_reading(reading("cellar", 20.0, 2)).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    kept.send_single_reading(reading("cellar", 20.0, 3)).await.unwrap();
    assert_eq!(kept_followed.message().await.unwrap(), Some(reading("cellar", 20.0, 3)));
}

#[tokio::test]
async fn removed_token_ends_a_call_whose_request_is_unfinished() {
    let server = TestServer::start(&[]).await;
    let (_sender, requests) = mpsc::channel::<Result<http_body::Frame<bytes::Bytes>, Status>>(1);
    let body = tonic::body::Body::new(http_body_util::StreamBody::new(ReceiverStream::new(requests)));
    let request = http::Request::post("http://localhost/SensorService/SendSingleReading")
        .header("content-type", "application/grpc")
        .header("authorization", TOKEN)
        .body(body)
        .unwrap();
    let (mut sender, connection) = server.bare_connection().await;
    tokio::spawn(connection);
    let call = tokio::spawn(sender.send_request(request));
    // A second call that is answered: the first one, before it on the connection, has begun.
    let mut others = server.client().await;
    others.send_single_reading(reading("cellar", 20.0, 1)).await.unwrap();
    fs::write(server.files.path("tokens"), "another\n").unwrap();
    let response = timeout(PATIENCE, call).await.expect("the call ends").unwrap().unwrap();
    assert_eq!(response.headers()["grpc-status"], (Code::Unauthenticated as i32).to_string());
}

/// A follow by certificate alone, on a connection of its own.
async fn follow_by_certificate(
    server: &TestServer,
) -> (SensorServiceClient<tonic::transport::Channel>, Streaming<SensorReading>) {
    let channel = connect(server.address, server.files.client_tls(Some("client"))).await.unwrap();
    let mut client = SensorServiceClient::new(channel);
    client.send_single_reading(reading("cellar", 20.0, 1)).await.unwrap();
    let mut followed = client.get_sensor_readings(follow()).await.unwrap().into_inner();
    followed.message().await.unwrap().unwrap();
    (client, followed)
}

#[tokio::test]
async fn expired_client_certificate_ends_its_connection() {
    let files = Files::new();
    let now = SystemTime::now();
    let valid = now - Duration::from_mins(1)..now + Duration::from_secs(3);
    let pair = files.ca.issue_valid(Usage::Client, &["localhost"], &valid).unwrap();
    pair.write(&files.path("client.pem"), &files.path("client.key")).unwrap();
    let server = TestServer::start_with(files, &[("KELVIN_MTLS", "required")]).await;
    let (mut client, followed) = follow_by_certificate(&server).await;
    let status = end(followed).await;
    assert_eq!(status.code(), Code::Unauthenticated, "{status}");
    assert!(status.message().contains("client certificate has expired"), "{status}");
    client.send_single_reading(reading("cellar", 20.0, 2)).await.unwrap_err();
}

#[tokio::test]
async fn client_certificate_of_a_removed_ca_ends_its_connection() {
    let files = Files::new();
    files.issue("client", Usage::Client);
    let client_ca = files.path("client-ca.pem");
    fs::write(&client_ca, files.ca.pem()).unwrap();
    let path = client_ca.display().to_string();
    let settings = [("KELVIN_MTLS", "required"), ("KELVIN_TLS_CLIENT_CA", path.as_str())];
    let server = TestServer::start_with(files, &settings).await;
    let (mut client, followed) = follow_by_certificate(&server).await;
    fs::write(&client_ca, LocalCa::generate().unwrap().pem()).unwrap();
    let status = end(followed).await;
    assert_eq!(status.code(), Code::Unauthenticated, "{status}");
    assert!(status.message().contains("its CA is no longer trusted"), "{status}");
    // The connection is gone, and another one with this certificate is refused.
    client.send_single_reading(reading("cellar", 20.0, 2)).await.unwrap_err();
}
