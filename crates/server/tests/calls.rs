//! The calls over TLS, with the client that is generated from the contract.

mod support;

use kelvin_app::unix_now;
use kelvin_proto::{
    AggregateRequest, ListSensorsRequest, SensorAggregate, SensorReading, SensorRequest, SensorStatsRequest,
    ServerMessage, Severity,
};
use support::{TestServer, reading};
use tokio::sync::mpsc;
use tokio_stream::{StreamExt as _, iter, wrappers::ReceiverStream};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

fn readings(sensor_id: &str, count: i64) -> Vec<SensorReading> {
    (0..count).map(|n| reading(sensor_id, 20.0 + (n % 8) as f64 / 8.0, n)).collect()
}

async fn get(server: &TestServer, request: SensorRequest) -> Vec<SensorReading> {
    let stream = server.client().await.get_sensor_readings(request).await.unwrap().into_inner();
    stream.collect::<Result<_, _>>().await.unwrap()
}

fn of(sensor_id: &str) -> SensorRequest {
    SensorRequest { sensor_id: sensor_id.to_owned(), ..SensorRequest::default() }
}

/// The field that a `BadRequest` detail names.
fn field(status: &Status) -> String {
    status.get_details_bad_request().unwrap().field_violations[0].field.clone()
}

/// Index and stored count of a stream that ended by one of its readings.
fn place(status: &Status) -> (String, String) {
    let metadata = status.get_details_error_info().unwrap().metadata;
    (metadata["index"].clone(), metadata["stored"].clone())
}

#[tokio::test]
async fn unary_readings_are_returned_in_arrival_order() {
    let server = TestServer::start(&[]).await;
    let mut client = server.client().await;
    let sent = vec![reading("cellar", 8.5, 300), reading("cellar", -0.0, 100), reading("cellar", 8.5, 300)];
    for reading in &sent {
        let ack = client.send_single_reading(reading.clone()).await.unwrap().into_inner();
        assert_eq!((ack.message.as_str(), ack.accepted), ("stored", Some(1)));
    }
    assert_eq!(get(&server, of("cellar")).await, sent);
    assert_eq!(get(&server, of("attic")).await, vec![]);
}

#[tokio::test]
async fn since_until_and_limit_choose() {
    let server = TestServer::start(&[]).await;
    let all = readings("cellar", 5000);
    let ack = server.client().await.stream_sensor_readings(iter(all.clone())).await.unwrap().into_inner();
    assert_eq!((ack.message.as_str(), ack.accepted), ("stored 5000 readings", Some(5000)));
    assert_eq!(get(&server, of("cellar")).await, all);
    let window = SensorRequest { since: Some(10), until: Some(4000), limit: Some(700), ..of("cellar") };
    assert_eq!(get(&server, window).await, all[3300..4000]);
}

#[tokio::test]
async fn one_wrong_reading_is_invalid_and_its_field_is_named() {
    let server = TestServer::start(&[]).await;
    let mut client = server.client().await;
    let now = unix_now();
    let wrong = [
        (reading("", 1.0, 1), "sensor_id"),
        (reading(&"x".repeat(129), 1.0, 1), "sensor_id"),
        (reading("cellar", f64::NAN, 1), "temperature"),
        (reading("cellar", -273.16, 1), "temperature"),
        (reading("cellar", 1.0, now + 3700), "timestamp"),
    ];
    for (reading, expected) in wrong {
        let status = client.send_single_reading(reading).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        assert_eq!(field(&status), expected);
    }
    assert_eq!(get(&server, of("cellar")).await, vec![]);
    let status = client.get_sensor_readings(of("")).await.unwrap_err();
    assert_eq!((status.code(), field(&status).as_str()), (Code::InvalidArgument, "sensor_id"));
}

#[tokio::test]
async fn invalid_reading_ends_stream_and_keeps_earlier() {
    let server = TestServer::start(&[]).await;
    let mut sent = readings("cellar", 3000);
    sent[2500].temperature = -300.0;
    let status = server.client().await.stream_sensor_readings(iter(sent.clone())).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_eq!(field(&status), "temperature");
    assert_eq!(place(&status), ("2500".to_owned(), "2500".to_owned()));
    assert!(status.message().contains("2500 readings of this call are stored"), "{}", status.message());
    assert_eq!(get(&server, of("cellar")).await, sent[..2500]);
}

#[tokio::test]
async fn chat_answers_in_order_and_outlives_invalid_readings() {
    let server = TestServer::start(&[("KELVIN_ALERT_HIGH", "30"), ("KELVIN_MAX_SENSORS", "1")]).await;
    // Within one batch it is open which of two new sensors comes too late.
    server.client().await.send_single_reading(reading("cellar", 20.0, 0)).await.unwrap();
    let sent = vec![
        reading("cellar", 20.0, 1),
        reading("", 20.0, 1),
        reading("attic", 20.0, 1),
        reading("cellar", 31.0, 2),
        reading("cellar", f64::INFINITY, 3),
        reading("cellar", 32.0, 3),
        reading("cellar", 20.0, 4),
    ];
    let answers = server.client().await.sensor_chat(iter(sent)).await.unwrap().into_inner();
    let answers: Vec<ServerMessage> = answers.collect::<Result<_, _>>().await.unwrap();
    let received: Vec<_> =
        answers.iter().map(|answer| (answer.severity(), answer.accepted.unwrap())).collect();
    let expected = [
        (Severity::Status, 1),
        (Severity::Rejected, 1),
        (Severity::Rejected, 1),
        (Severity::Alert, 2),
        (Severity::Rejected, 2),
        (Severity::Status, 3),
        (Severity::Alert, 4),
    ];
    assert_eq!(received, expected);
    assert!(
        answers[3].message.contains("31.00 °C") && answers[3].message.contains("30.00 °C"),
        "{answers:?}"
    );
    let now = unix_now();
    assert!(answers.iter().all(|answer| now.abs_diff(answer.server_time) < 60));
}

#[tokio::test]
async fn chat_answers_while_more_arrive() {
    let server = TestServer::start(&[]).await;
    let (sender, receiver) = mpsc::channel(1);
    let call = server.client().await.sensor_chat(ReceiverStream::new(receiver)).await.unwrap();
    let mut answers = call.into_inner();
    for n in 1..=100 {
        sender.send(reading("cellar", 20.0, n)).await.unwrap();
        let answer = answers.next().await.unwrap().unwrap();
        assert_eq!((answer.severity(), answer.accepted), (Severity::Status, Some(n.cast_unsigned())));
    }
    drop(sender);
    assert!(answers.next().await.is_none());
}

#[tokio::test]
async fn long_chat_is_answered_completely() {
    let server = TestServer::start(&[]).await;
    let answers =
        server.client().await.sensor_chat(iter(readings("cellar", 50_000))).await.unwrap().into_inner();
    let accepted: Vec<_> = answers.map(|answer| answer.unwrap().accepted.unwrap()).collect().await;
    assert_eq!(accepted, (1..=50_000).collect::<Vec<_>>());
}

#[tokio::test]
async fn follow_call_receives_new_readings() {
    let server = TestServer::start(&[]).await;
    let mut client = server.client().await;
    client.send_single_reading(reading("cellar", 1.0, 1)).await.unwrap();
    let follow = SensorRequest { follow: true, ..of("cellar") };
    let mut stream = client.get_sensor_readings(follow).await.unwrap().into_inner();
    for n in 1..=20 {
        assert_eq!(stream.next().await.unwrap().unwrap().timestamp, n);
        client.send_single_reading(reading("cellar", 1.0, n + 1)).await.unwrap();
    }
}

#[tokio::test]
async fn evicted_readings_are_reported() {
    let limits = [
        ("KELVIN_MAX_SENSORS", "1"),
        ("KELVIN_MAX_READINGS_PER_SENSOR", "100"),
        ("KELVIN_ALERT_Z_SCORE", ""),
    ];
    let server = TestServer::start(&limits).await;
    let mut client = server.client().await;
    let ack = client.stream_sensor_readings(iter(readings("cellar", 150))).await.unwrap().into_inner();
    assert_eq!(ack.message, "stored 150 readings; 50 older readings evicted");
    let ack = client.send_single_reading(reading("cellar", 1.0, 150)).await.unwrap().into_inner();
    assert_eq!(ack.message, "stored; 1 older reading evicted");

    let status = client.send_single_reading(reading("attic", 1.0, 1)).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert_eq!(status.get_details_quota_failure().unwrap().violations[0].subject, "too_many_sensors");
    let sent = [reading("cellar", 1.0, 151), reading("attic", 1.0, 1)];
    let status = client.stream_sensor_readings(iter(sent)).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert_eq!(place(&status), ("1".to_owned(), "1".to_owned()));
}

#[tokio::test]
async fn statistics_of_one_and_of_all() {
    let server = TestServer::start(&[]).await;
    let mut client = server.client().await;
    let names: Vec<_> = (0..25).map(|n| format!("room-{n:02}")).collect();
    let sent =
        names.iter().flat_map(|name| [reading(name, 10.0, 1), reading(name, 30.0, 2)]).collect::<Vec<_>>();
    client.stream_sensor_readings(iter(sent)).await.unwrap();

    let stats = client
        .get_sensor_stats(SensorStatsRequest { sensor_id: "room-07".into() })
        .await
        .unwrap()
        .into_inner();
    assert_eq!((stats.count, stats.held, stats.recent_count), (2, 2, 2));
    assert_eq!((stats.min, stats.max, stats.mean, stats.recent_mean), (10.0, 30.0, 20.0, 20.0));
    assert!((stats.standard_deviation - 10.0).abs() < 1e-9);
    assert_eq!(stats.last, Some(reading("room-07", 30.0, 2)));
    let unknown =
        client.get_sensor_stats(SensorStatsRequest { sensor_id: "room-99".into() }).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);

    let mut request = ListSensorsRequest { page_size: 10, ..ListSensorsRequest::default() };
    let (mut found, mut sizes) = (Vec::new(), Vec::new());
    loop {
        let page = client.list_sensors(request.clone()).await.unwrap().into_inner();
        sizes.push(page.sensors.len());
        found.extend(page.sensors.into_iter().map(|sensor| sensor.sensor_id));
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    found.sort();
    assert_eq!(found, names);
    assert!(sizes.iter().all(|size| *size <= 10), "{sizes:?}");
    request.page_token = "not one of ours".into();
    let refused = client.list_sensors(request).await.unwrap_err();
    assert_eq!((refused.code(), field(&refused).as_str()), (Code::InvalidArgument, "page_token"));
}

#[tokio::test]
async fn aggregate_late_readings_are_in_their_window() {
    let server = TestServer::start(&[("KELVIN_MAX_READINGS_PER_SENSOR", "3")]).await;
    let mut client = server.client().await;
    let sent = [(99.0, 1), (10.0, 5), (30.0, 25), (20.0, 15)];
    let sent = sent.map(|(temperature, timestamp)| reading("cellar", temperature, timestamp));
    client.stream_sensor_readings(iter(sent)).await.unwrap();
    let request =
        AggregateRequest { sensor_id: "cellar".to_owned(), step: 10, ..AggregateRequest::default() };
    let mut stream = client.aggregate_sensor_readings(request.clone()).await.unwrap().into_inner();
    let one = |start, value| SensorAggregate {
        start,
        count: 1,
        mean: value,
        min: value,
        max: value,
        standard_deviation: 0.0,
    };
    for expected in [one(0, 10.0), one(10, 20.0), one(20, 30.0)] {
        assert_eq!(stream.message().await.unwrap(), Some(expected));
    }
    assert_eq!(stream.message().await.unwrap(), None);
    let trailers = stream.trailers().await.unwrap().unwrap();
    assert_eq!(trailers.get("kelvin-evicted-unread").unwrap(), "1");

    let request = AggregateRequest { since: Some(6), until: Some(25), ..request };
    let stream = client.aggregate_sensor_readings(request.clone()).await.unwrap().into_inner();
    let got: Vec<_> = stream.collect::<Result<_, _>>().await.unwrap();
    assert_eq!(got, [one(10, 20.0)]);
    let unknown = AggregateRequest { sensor_id: "attic".to_owned(), ..request };
    let stream = client.aggregate_sensor_readings(unknown).await.unwrap().into_inner();
    assert_eq!(stream.collect::<Result<Vec<_>, _>>().await.unwrap(), []);
}

/// Proto3 cannot tell 0 from unset, and sensors without a clock send it.
#[tokio::test]
async fn timestamps_of_zero_and_before_1970_are_accepted() {
    let server = TestServer::start(&[]).await;
    let mut client = server.client().await;
    let sent: Vec<_> = [0, -1, i64::MIN, -86_400].map(|timestamp| reading("cellar", 20.0, timestamp)).into();
    client.send_single_reading(sent[0].clone()).await.unwrap();
    client.stream_sensor_readings(iter(sent[1..].to_vec())).await.unwrap();
    assert_eq!(get(&server, of("cellar")).await, sent);
    let before = SensorRequest { until: Some(0), since: Some(-86_400), ..of("cellar") };
    assert_eq!(get(&server, before).await, [sent[1].clone(), sent[3].clone()]);
    let request =
        AggregateRequest { sensor_id: "cellar".to_owned(), step: 3600, ..AggregateRequest::default() };
    let windows = client.aggregate_sensor_readings(request).await.unwrap().into_inner();
    let starts = windows.map(|window| window.unwrap().start).collect::<Vec<_>>().await;
    assert_eq!(starts, [i64::MIN, -86_400, -3600, 0]);
}

#[tokio::test]
async fn aggregate_invalid_request_names_its_field() {
    let server = TestServer::start(&[]).await;
    let mut client = server.client().await;
    let valid = AggregateRequest { sensor_id: "cellar".to_owned(), step: 1, ..AggregateRequest::default() };
    for (request, wrong) in [
        (AggregateRequest { step: 0, ..valid.clone() }, "step"),
        (AggregateRequest { step: -5, ..valid.clone() }, "step"),
        (AggregateRequest { since: Some(0), until: Some(11_001), ..valid.clone() }, "step"),
        (AggregateRequest { sensor_id: String::new(), ..valid.clone() }, "sensor_id"),
    ] {
        let status = client.aggregate_sensor_readings(request).await.unwrap_err();
        assert_eq!((status.code(), field(&status).as_str()), (Code::InvalidArgument, wrong));
    }
    client.stream_sensor_readings(iter(readings("cellar", 11_001))).await.unwrap();
    let status = client.aggregate_sensor_readings(valid).await.unwrap_err();
    assert_eq!((status.code(), field(&status).as_str()), (Code::InvalidArgument, "step"));
}
