//! A shared store that cannot be reached, from the beginning or from some moment on.

mod support;

use std::{fs, net::TcpListener, time::Duration};

use kelvin_proto::{ListSensorsRequest, SensorRequest, SensorStatsRequest};
use kelvin_server::Acknowledge;
use kelvin_telemetry::receiver::{
    Received, Receiver,
    proto::metrics::v1::{NumberDataPoint, metric::Data, number_data_point::Value},
};
use kelvin_testing::{ValkeyServer, eventually, eventually_ok};
use support::{Files, TestServer, flush_metrics, kelvin::Kelvin, observed_by, reading, until_stored};
use tokio::{
    sync::mpsc::{channel, unbounded_channel},
    time::timeout,
};
use tokio_stream::{
    StreamExt as _, iter,
    wrappers::{ReceiverStream, UnboundedReceiverStream},
};
use tonic::{Code, Status};
use tonic_health::{
    ServingStatus,
    pb::{HealthCheckRequest, health_client::HealthClient},
};
use tonic_types::StatusExt as _;

/// A caller that cannot send for so long is held up.
const BLOCKED: Duration = Duration::from_secs(1);

/// Calls that store readings report them.
fn assert_unavailable(status: &Status, stored: Option<u64>) {
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    assert!(status.get_details_retry_info().unwrap().retry_delay.is_some());
    match stored {
        Some(stored) => {
            let expected = format!("the store is unavailable; {stored} readings of this call are stored");
            assert_eq!(status.message(), expected);
            let info = status.get_details_error_info().unwrap();
            assert_eq!(info.metadata["stored"], stored.to_string());
        }
        None => assert_eq!(status.message(), "the store is unavailable"),
    }
}

#[tokio::test]
async fn calls_return_unavailable_while_server_is_ready() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let settings = [
        ("KELVIN_STORE", "valkey"),
        ("KELVIN_VALKEY_ADDRESS", nobody.as_str()),
        ("KELVIN_VALKEY_TIMEOUT", "100ms"),
    ];
    let receiver = Receiver::start().await.unwrap();
    let telemetry = observed_by(&receiver);
    let server = TestServer::start_observed(Files::new(), &settings, &telemetry).await;
    let mut client = server.client().await;
    let one = reading("cellar", 20.0, 1);
    let of = "cellar".to_owned();

    assert_unavailable(&client.send_single_reading(one.clone()).await.unwrap_err(), Some(0));
    assert_unavailable(&client.stream_sensor_readings(iter([one.clone()])).await.unwrap_err(), Some(0));
    let mut chat = client.sensor_chat(iter([one])).await.unwrap().into_inner();
    assert_unavailable(&chat.next().await.unwrap().unwrap_err(), Some(0));
    let request = SensorStatsRequest { sensor_id: of.clone() };
    assert_unavailable(&client.get_sensor_stats(request).await.unwrap_err(), None);
    assert_unavailable(&client.list_sensors(ListSensorsRequest::default()).await.unwrap_err(), None);
    let request = SensorRequest { sensor_id: of, ..SensorRequest::default() };
    let status = match client.get_sensor_readings(request).await {
        Err(status) => status,
        Ok(stream) => stream.into_inner().next().await.unwrap().unwrap_err(),
    };
    assert_unavailable(&status, None);

    flush_metrics(&telemetry).await;
    assert_eq!(receiver.look(|received| gauge(received, "kelvin.store.up")), Some(0));
}

/// The last value of a gauge of one point.
fn gauge(received: &Received, name: &str) -> Option<i64> {
    let (_, metric) = received.metrics().filter(|(_, metric)| metric.name == name).last()?;
    let Some(Data::Gauge(gauge)) = &metric.data else { panic!("{metric:?}") };
    match gauge.data_points[..] {
        [NumberDataPoint { value: Some(Value::AsInt(value)), .. }] => Some(value),
        _ => panic!("{gauge:?}"),
    }
}

#[tokio::test]
async fn lost_store_is_logged_once_and_calls_report_what_is_stored() {
    let mut valkey = ValkeyServer::start(&[]).await;
    let mut kelvin = Kelvin::start(&[valkey.address()], Acknowledge::Primary);
    let mut client = kelvin.client();
    eventually_ok("the server serves", async || {
        kelvin.client().send_single_reading(reading("hall", 20.0, 0)).await
    })
    .await;

    let (upload, readings) = unbounded_channel();
    let mut uploader = client.clone();
    let uploading =
        tokio::spawn(
            async move { uploader.stream_sensor_readings(UnboundedReceiverStream::new(readings)).await },
        );
    for number in 0..3 {
        upload.send(reading("cellar", 20.0, number)).unwrap();
    }
    until_stored(&client, "cellar", 3).await;
    let (chat, readings) = unbounded_channel();
    let mut answers = client.sensor_chat(UnboundedReceiverStream::new(readings)).await.unwrap().into_inner();
    for number in 0..2 {
        chat.send(reading("attic", 20.0, number)).unwrap();
        assert_eq!(answers.next().await.unwrap().unwrap().accepted, Some(number.cast_unsigned() + 1));
    }

    valkey.kill();
    chat.send(reading("attic", 20.0, 2)).unwrap();
    upload.send(reading("cellar", 20.0, 3)).unwrap();
    assert_unavailable(&answers.next().await.unwrap().unwrap_err(), Some(2));
    assert_unavailable(&uploading.await.unwrap().unwrap_err(), Some(3));
    for _ in 0..3 {
        let status = client.send_single_reading(reading("hall", 20.0, 1)).await.unwrap_err();
        assert_unavailable(&status, Some(0));
    }
    let health = HealthClient::new(kelvin.connect()).check(HealthCheckRequest::default()).await.unwrap();
    assert_eq!(health.get_ref().status, ServingStatus::Serving as i32, "all servers must not vanish at once");

    valkey.run().await;
    eventually_ok("readings are stored again", async || {
        client.send_single_reading(reading("hall", 20.0, 2)).await
    })
    .await;
    let lines = |text| kelvin.log().lines().filter(|line| line.contains(text)).count();
    eventually("the log says so", async || lines("the store is available again") == 1).await;
    assert_eq!(lines("the store is unavailable"), 1, "{}", kelvin.log());
    assert_eq!(kelvin.crash(), None);
}

#[tokio::test]
async fn incompatible_store_is_logged_once_and_not_used() {
    let mut valkey = ValkeyServer::start(&[]).await;
    valkey.kill();
    let mut kelvin = Kelvin::start(&[valkey.address()], Acknowledge::Fsync);
    let lines = |text| kelvin.log().lines().filter(|line| line.contains(text)).count();
    eventually("it is seen to be away", async || lines("the store is unavailable") == 1).await;
    valkey.run().await;
    eventually("the log says what is missing", async || lines("with `appendonly yes`") == 1).await;
    for _ in 0..3 {
        let status = kelvin.client().send_single_reading(reading("hall", 20.0, 1)).await.unwrap_err();
        assert_unavailable(&status, Some(0));
        assert!(!status.message().contains("appendonly"), "callers need not know the store: {status}");
    }
    assert_eq!(valkey.query::<Vec<String>>(&["KEYS", "*:s"]).await.unwrap(), [""; 0]);

    valkey.exec(&["CONFIG", "SET", "appendonly", "yes"]).await;
    eventually_ok("readings are stored", async || {
        kelvin.client().send_single_reading(reading("hall", 20.0, 2)).await
    })
    .await;
    eventually("the log says so", async || lines("the store is available again") == 1).await;
    assert_eq!(lines("with `appendonly yes`"), 1, "{}", kelvin.log());
    assert_eq!(kelvin.crash(), None);
}

#[tokio::test]
async fn changed_password_file_is_used() {
    let valkey = ValkeyServer::start(&[]).await;
    valkey.exec(&["ACL", "SETUSER", "kelvin", "on", ">right", "~*", "&*", "+@all"]).await;
    let files = Files::new();
    let password = files.path("password");
    fs::write(&password, "wrong").unwrap();
    let (address, path) = (valkey.address(), password.display().to_string());
    let settings = [
        ("KELVIN_STORE", "valkey"),
        ("KELVIN_VALKEY_ADDRESS", address.as_str()),
        ("KELVIN_VALKEY_USERNAME", "kelvin"),
        ("KELVIN_VALKEY_PASSWORD_FILE", path.as_str()),
        ("KELVIN_VALKEY_TIMEOUT", "100ms"),
    ];
    let server = TestServer::start_with(files, &settings).await;
    let mut client = server.client().await;
    let one = reading("hall", 20.0, 1);
    let refused = client.send_single_reading(one.clone()).await.unwrap_err();
    assert_unavailable(&refused, Some(0));
    fs::write(&password, "right\n").unwrap();
    eventually_ok("the server is let in", async || client.send_single_reading(one.clone()).await).await;
}

#[tokio::test]
async fn unresponsive_store_slows_streams() {
    let valkey = ValkeyServer::start(&[]).await;
    let address = valkey.address();
    let settings = [
        ("KELVIN_STORE", "valkey"),
        ("KELVIN_VALKEY_ADDRESS", address.as_str()),
        ("KELVIN_VALKEY_TIMEOUT", "30s"),
    ];
    let server = TestServer::start(&settings).await;
    let mut client = server.client().await;
    client.send_single_reading(reading("hall", 20.0, 0)).await.unwrap();

    valkey.signal("STOP");
    let (sender, readings) = channel(1);
    let upload =
        tokio::spawn(async move { client.stream_sensor_readings(ReceiverStream::new(readings)).await });
    let mut sent = 0;
    while let Ok(taken) = timeout(BLOCKED, sender.send(reading("cellar", 20.0, sent))).await {
        taken.unwrap();
        sent += 1;
        // A batch in the server, and what HTTP/2 lets a caller send that is not read.
        assert!(sent < 10_000, "nothing holds the caller up");
    }
    valkey.signal("CONT");
    drop(sender);
    let ack = upload.await.unwrap().unwrap();
    assert_eq!(ack.get_ref().accepted, Some(sent.cast_unsigned()), "and nothing is lost");
}
