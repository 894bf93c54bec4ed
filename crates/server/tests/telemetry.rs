//! What a collector gets to know of the calls, against one in this process.

mod support;

use std::collections::BTreeMap;

use kelvin_proto::SensorReading;
use kelvin_telemetry::{
    Telemetry,
    receiver::{
        Received, Receiver,
        proto::metrics::v1::{metric::Data, number_data_point::Value},
        text,
    },
};
use kelvin_testing::{eventually, eventually_some};
use support::{Files, TestServer, flush_metrics, observed_by, reading, until_stored};
use tokio::sync::mpsc;
use tokio_stream::{StreamExt as _, iter, wrappers::ReceiverStream};
use tonic::{Request, metadata::MetadataValue};

/// The last values of a counter by the text of one attribute; how many calls, for a histogram.
fn values(received: &Received, metric: &str, key: &str) -> BTreeMap<String, u64> {
    let Some((_, metric)) = received.metrics().filter(|(_, known)| known.name == metric).last() else {
        return BTreeMap::new();
    };
    let label = |attributes| text(attributes, key).unwrap_or_default().to_owned();
    match metric.data.as_ref().unwrap() {
        Data::Sum(sum) => {
            let mut counts = BTreeMap::new();
            for point in &sum.data_points {
                let Some(Value::AsInt(value)) = point.value else { panic!("{metric:?}") };
                *counts.entry(label(&point.attributes)).or_default() += value.cast_unsigned();
            }
            counts
        }
        Data::Histogram(histogram) => {
            let mut counts = BTreeMap::new();
            for point in &histogram.data_points {
                *counts.entry(label(&point.attributes)).or_default() += point.count;
            }
            counts
        }
        _ => panic!("{metric:?}"),
    }
}

fn counts<const N: usize>(pairs: [(&str, u64); N]) -> BTreeMap<String, u64> {
    pairs.map(|(label, count)| (label.to_owned(), count)).into()
}

/// Waits until a counter has this value for one of its labels.
async fn until_counted(
    receiver: &Receiver,
    telemetry: &Telemetry,
    metric: &str,
    key: &str,
    expected: (&str, u64),
) {
    eventually(&format!("{metric} has {expected:?}"), async || {
        flush_metrics(telemetry).await;
        receiver.look(|received| values(received, metric, key).get(expected.0) == Some(&expected.1))
    })
    .await;
}

fn readings(count: i64) -> impl Iterator<Item = SensorReading> {
    (0..count).map(|n| reading("cellar", 20.0, n))
}

#[tokio::test]
async fn calls_readings_alerts_and_breaks_are_counted() {
    let receiver = Receiver::start().await.unwrap();
    let telemetry = observed_by(&receiver);
    let settings =
        [("KELVIN_MAX_SENSORS", "1"), ("KELVIN_MAX_READINGS_PER_SENSOR", "100"), ("KELVIN_ALERT_HIGH", "30")];
    let files = Files::new();
    std::fs::write(files.path("tokens"), format!("{} gateway-7\n", support::TOKEN)).unwrap();
    let server = TestServer::start_observed(files, &settings, &telemetry).await;
    let mut client = server.client().await;

    let mut traced = Request::new(reading("cellar", 31.0, 1));
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let parent: MetadataValue<_> = format!("00-{trace}-00f067aa0ba902b7-01").parse().unwrap();
    traced.metadata_mut().insert("traceparent", parent.clone());
    client.send_single_reading(traced).await.unwrap();
    client.send_single_reading(reading("", 20.0, 1)).await.unwrap_err();
    client.send_single_reading(reading("attic", 20.0, 1)).await.unwrap_err();
    client.stream_sensor_readings(iter(readings(100).collect::<Vec<_>>())).await.unwrap();
    let chat = client.sensor_chat(iter(readings(10).collect::<Vec<_>>())).await.unwrap().into_inner();
    assert_eq!(chat.map(Result::unwrap).collect::<Vec<_>>().await.len(), 10);
    // A caller who is not authenticated cannot have its call recorded.
    let mut refused = Request::new(reading("x", 1.0, 1));
    refused.metadata_mut().insert("traceparent", parent);
    support::client(server.connect().await, "wrong").send_single_reading(refused).await.unwrap_err();

    // A caller that goes away in the middle of its stream.
    let (sender, receiving) = mpsc::channel(16);
    let mut leaving = client.clone();
    let call =
        tokio::spawn(async move { leaving.stream_sensor_readings(ReceiverStream::new(receiving)).await });
    sender.send(reading("cellar", 20.0, 1)).await.unwrap();
    until_stored(&client, "cellar", 112).await;
    call.abort();
    let broken = ("SensorService/StreamSensorReadings", 1);
    until_counted(&receiver, &telemetry, "kelvin.streams.aborted", "rpc.method", broken).await;
    // The handler learns of it before the call ends.
    let ended = ("CANCELLED", 1);
    until_counted(&receiver, &telemetry, "grpc.server.call.duration", "grpc.status", ended).await;

    let provider = telemetry.tracer_provider().unwrap();
    tokio::task::spawn_blocking(move || provider.force_flush()).await.unwrap().unwrap();
    receiver.look(|received| {
        let of = |metric, key| values(received, metric, key);
        assert_eq!(of("kelvin.readings.accepted", ""), counts([("", 112)]));
        assert_eq!(of("kelvin.readings.evicted", "reason"), counts([("full", 12), ("idle", 0)]));
        // What did not happen is counted, too: as 0.
        let rejected = counts([
            ("invalid_sensor_id", 1),
            ("invalid_temperature", 0),
            ("invalid_timestamp", 0),
            ("store_full", 0),
            ("too_many_sensors", 1),
        ]);
        assert_eq!(of("kelvin.readings.rejected", "reason"), rejected);
        assert_eq!(of("kelvin.alerts", "kind"), counts([("high", 1), ("low", 0), ("outlier", 0)]));
        let unauthenticated = counts([
            ("no_token", 0),
            ("wrong_token", 1),
            ("ambiguous_token", 0),
            ("rejected_certificate", 0),
        ]);
        assert_eq!(of("kelvin.calls.unauthenticated", "reason"), unauthenticated);
        assert_eq!(of("kelvin.connections.refused", "reason").len(), 5);
        assert_eq!(of("kelvin.connections.closed", "reason").len(), 6);
        assert_eq!(of("kelvin.streams.aborted", "rpc.method").len(), 2);
        let started = of("grpc.server.call.started", "grpc.method");
        assert_eq!(started["SensorService/SendSingleReading"], 4);
        assert_eq!(started["SensorService/StreamSensorReadings"], 2);
        assert_eq!(started["SensorService/SensorChat"], 1);
        let ended = of("grpc.server.call.duration", "grpc.status");
        assert_eq!(ended["UNAUTHENTICATED"], 1);
        assert_eq!((ended["INVALID_ARGUMENT"], ended["RESOURCE_EXHAUSTED"]), (1, 1));

        let spans = received.spans().map(|(_, span)| span);
        let spans: Vec<_> =
            spans.filter(|span| span.name == "Recv.SensorService.SendSingleReading").collect();
        // Of authenticated callers.
        assert_eq!(spans.len(), 3);
        let of_caller: Vec<_> = spans.iter().filter(|span| !span.parent_span_id.is_empty()).collect();
        assert_eq!(of_caller.len(), 1);
        assert_eq!(of_caller[0].trace_id, u128::from_str_radix(trace, 16).unwrap().to_be_bytes());
        assert_eq!(of_caller[0].parent_span_id, 0x00f0_67aa_0ba9_02b7_u64.to_be_bytes());
        let named = spans.iter().map(|span| text(&span.attributes, "kelvin.caller.name"));
        assert_eq!(named.filter(|name| *name == Some("gateway-7")).count(), 3, "all but the refused one");
        for span in spans {
            assert_eq!(text(&span.attributes, "network.peer.address"), Some("127.0.0.1"));
            assert!(span.attributes.iter().any(|pair| pair.key == "network.peer.port"));
        }
        assert!(!format!("{received:?}").contains(support::TOKEN));
    });
}

#[tokio::test]
async fn broken_key_is_rejected_and_previous_pair_kept() {
    let receiver = Receiver::start().await.unwrap();
    let telemetry = observed_by(&receiver);
    let server = TestServer::start_observed(Files::new(), &[], &telemetry).await;
    std::fs::write(server.files.path("server.key"), "broken").unwrap();
    until_counted(&receiver, &telemetry, "kelvin.reloads", "result", ("rejected", 1)).await;
    server.client().await.send_single_reading(reading("cellar", 20.0, 1)).await.unwrap();

    server.files.issue("server", kelvin_credentials::ca::Usage::Server);
    until_counted(&receiver, &telemetry, "kelvin.reloads", "result", ("ok", 1)).await;
    server.client().await.send_single_reading(reading("cellar", 20.0, 1)).await.unwrap();
}

/// Of the files for Valkey, which need not be there for it.
#[tokio::test]
async fn store_secret_reloads_are_counted_and_broken_ones_rejected() {
    let receiver = Receiver::start().await.unwrap();
    let telemetry = observed_by(&receiver);
    let files = Files::new();
    let path = |name: &str| files.path(name).display().to_string();
    let (password, ca) = (path("password"), path("valkey-ca.pem"));
    std::fs::write(&password, "old\n").unwrap();
    std::fs::write(&ca, files.ca.pem()).unwrap();
    let settings = [
        ("KELVIN_STORE", "valkey"),
        ("KELVIN_VALKEY_ADDRESS", "127.0.0.1:1"),
        ("KELVIN_VALKEY_TIMEOUT", "100ms"),
        ("KELVIN_VALKEY_PASSWORD_FILE", &password),
        ("KELVIN_VALKEY_TLS_CA", &ca),
    ];
    let _server = TestServer::start_observed(files, &settings, &telemetry).await;
    let counted = async |key, file| until_counted(&receiver, &telemetry, "kelvin.reloads", key, file).await;
    std::fs::write(&password, "new\n").unwrap();
    counted("file", ("store_password", 1)).await;
    counted("result", ("ok", 1)).await;
    std::fs::write(&ca, "broken").unwrap();
    counted("file", ("store_ca", 1)).await;
    counted("result", ("rejected", 1)).await;
    std::fs::write(&ca, kelvin_credentials::ca::LocalCa::generate().unwrap().pem()).unwrap();
    counted("result", ("ok", 2)).await;
}

/// The last values of a gauge by sensor.
fn by_sensor(received: &Received, metric: &str) -> BTreeMap<String, f64> {
    let Some((_, metric)) = received.metrics().filter(|(_, known)| known.name == metric).last() else {
        return BTreeMap::new();
    };
    let Some(Data::Gauge(gauge)) = &metric.data else { panic!("{metric:?}") };
    let points = gauge.data_points.iter().map(|point| {
        let value = match point.value {
            Some(Value::AsDouble(value)) => value,
            Some(Value::AsInt(value)) => value as f64,
            None => panic!("{point:?}"),
        };
        (text(&point.attributes, "kelvin.sensor.id").unwrap().to_owned(), value)
    });
    points.collect()
}

#[tokio::test]
async fn sensor_gauges_are_limited_and_keep_their_sensors() {
    let receiver = Receiver::start().await.unwrap();
    let telemetry = observed_by(&receiver);
    let settings =
        [("KELVIN_SENSOR_METRICS", "5"), ("KELVIN_RECENT_WINDOW", "2"), ("KELVIN_ALERT_HIGH", "35")];
    let server = TestServer::start_observed(Files::new(), &settings, &telemetry).await;
    let mut client = server.client().await;
    let now = kelvin_app::unix_now();
    let sent: Vec<_> = [10.0, 20.0, 30.0]
        .into_iter()
        .flat_map(|t| (0..50).map(move |n| reading(&format!("s{n}"), t, now)))
        .collect();
    client.stream_sensor_readings(iter(sent)).await.unwrap();
    let reported = async |metric: &'static str, expected: f64| {
        eventually_some(metric, async || {
            flush_metrics(&telemetry).await;
            let values = receiver.look(|received| by_sensor(received, metric));
            let all = values.values().all(|value| (value - expected).abs() < 1e-9);
            (values.len() == 5 && all).then(|| values.into_keys().collect::<Vec<_>>())
        })
        .await
    };
    let first = reported("kelvin.sensor.temperature", 30.0).await;
    assert_eq!(reported("kelvin.sensor.temperature.mean", 25.0).await, first);
    assert_eq!(reported("kelvin.sensor.alerting", 0.0).await, first);
    let sent: Vec<_> = (0..50).rev().map(|n| reading(&format!("s{n}"), 40.0, now)).collect();
    client.stream_sensor_readings(iter(sent)).await.unwrap();
    assert_eq!(reported("kelvin.sensor.temperature", 40.0).await, first);
    assert_eq!(reported("kelvin.sensor.alerting", 1.0).await, first);
}

/// The holder of the lease in the store reports all sensors, so that none is there twice.
#[tokio::test]
async fn sensors_of_a_shared_store_are_reported_by_one_server() {
    let valkey = kelvin_testing::ValkeyServer::start(&[]).await;
    let address = valkey.address();
    let settings = [
        ("KELVIN_SENSOR_METRICS", "5"),
        ("KELVIN_STORE", "valkey"),
        ("KELVIN_VALKEY_ADDRESS", address.as_str()),
    ];
    let mut observed = Vec::new();
    for _ in 0..3 {
        let receiver = Receiver::start().await.unwrap();
        let telemetry = observed_by(&receiver);
        let server = TestServer::start_observed(Files::new(), &settings, &telemetry).await;
        observed.push((server, receiver, telemetry));
    }
    let now = kelvin_app::unix_now();
    let sent: Vec<_> = (0..50).map(|n| reading(&format!("s{n}"), 20.0, now)).collect();
    observed[0].0.client().await.stream_sensor_readings(iter(sent)).await.unwrap();
    let reported = async |observed: &[(TestServer, Receiver, Telemetry)]| {
        let mut counts = Vec::new();
        for (_, receiver, telemetry) in observed {
            flush_metrics(telemetry).await;
            counts.push(receiver.look(|received| by_sensor(received, "kelvin.sensor.temperature").len()));
        }
        let reporters = counts.iter().filter(|count| **count > 0).count();
        assert!(reporters <= 1, "{counts:?} sensors are reported by {reporters} servers");
        counts.iter().position(|count| *count == 5)
    };
    let first = eventually_some("one server reports", || reported(&observed)).await;

    // Its lease runs out, and another takes over.
    let (mut gone, ..) = observed.remove(first);
    gone.shut_down();
    gone.ended().await.unwrap();
    let keys: Vec<String> = valkey.query(&["KEYS", "*counts"]).await.unwrap();
    valkey.exec(&["DEL", &keys[0]]).await;
    eventually_some("another server reports", || reported(&observed)).await;
}
