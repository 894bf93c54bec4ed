//! A shared store that cannot be reached.

mod support;

use std::net::TcpListener;

use kelvin_proto::{ListSensorsRequest, SensorRequest, SensorStatsRequest};
use support::{TestServer, reading};
use tokio_stream::{StreamExt as _, iter};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

fn assert_unavailable(status: &Status, stored: bool) {
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    assert!(status.get_details_retry_info().unwrap().retry_delay.is_some());
    let told = status.message().contains("0 readings of this call are stored");
    assert_eq!(told, stored, "{}", status.message());
}

#[tokio::test]
async fn the_server_is_ready_and_every_call_says_unavailable() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let settings = [
        ("KELVIN_STORE", "valkey"),
        ("KELVIN_VALKEY_ADDRESS", nobody.as_str()),
        ("KELVIN_VALKEY_TIMEOUT", "100ms"),
    ];
    let server = TestServer::start(&settings).await;
    let mut client = server.client().await;
    let one = reading("cellar", 20.0, 1);
    let of = "cellar".to_owned();

    assert_unavailable(&client.send_single_reading(one.clone()).await.unwrap_err(), true);
    assert_unavailable(&client.stream_sensor_readings(iter([one.clone()])).await.unwrap_err(), true);
    let mut chat = client.sensor_chat(iter([one])).await.unwrap().into_inner();
    assert_unavailable(&chat.next().await.unwrap().unwrap_err(), true);
    let request = SensorStatsRequest { sensor_id: of.clone() };
    assert_unavailable(&client.get_sensor_stats(request).await.unwrap_err(), false);
    assert_unavailable(&client.list_sensors(ListSensorsRequest::default()).await.unwrap_err(), false);
    let request = SensorRequest { sensor_id: of, ..SensorRequest::default() };
    let status = match client.get_sensor_readings(request).await {
        Err(status) => status,
        Ok(stream) => stream.into_inner().next().await.unwrap().unwrap_err(),
    };
    assert_unavailable(&status, false);
}
