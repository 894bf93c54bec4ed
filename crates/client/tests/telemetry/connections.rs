//! The metrics and spans of a client's connections and of delays of calls.

use std::time::Duration;

use kelvin_client::{Channel, Config};
use kelvin_proto::SensorReading;
use kelvin_telemetry::{
    Telemetry,
    receiver::{
        Receiver,
        proto::{
            common::v1::{KeyValue, any_value::Value},
            trace::v1::Span,
        },
        text,
    },
};
use tokio::task::spawn_blocking;

use crate::{disabled, exported::Exported};

const SERVICE: &str = "connections";

fn peer_port(span: &Span) -> Option<i64> {
    let port = |attribute: &&KeyValue| attribute.key == "network.peer.port";
    match span.attributes.iter().find(port)?.value.as_ref()?.value.as_ref()? {
        Value::IntValue(port) => Some(*port),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_peers_and_delays_are_reported() {
    let receiver = Receiver::start().await.unwrap();
    let telemetry = Telemetry::builder(SERVICE, "1.0.0")
        .variable("OTEL_EXPORTER_OTLP_ENDPOINT", &receiver.grpc_endpoint())
        .build()
        .unwrap();
    let (address, _received) = disabled::serve().await;
    let server = format!("http://kelvin.test:{}", address.port());
    let pairs = [("KELVIN_SERVER", server), ("KELVIN_RPC_METRICS", "true".to_owned())];
    let channel = Channel::with_lookup(&Config::from_pairs(pairs).unwrap(), &telemetry, move || async move {
        tokio::time::sleep(Duration::from_millis(50)).await;
        Ok(vec![address])
    })
    .unwrap();
    channel.client().send_single_reading(SensorReading::default()).await.unwrap_err();
    flush(&telemetry).await;
    let connected = Exported::new(&receiver);
    assert_eq!(connected.sum(SERVICE, "grpc.subchannel.open_connections"), 1);
    drop(channel);
    receiver
        .until("the end of the connection", |received| {
            let ended = received.metrics().any(|(_, metric)| metric.name == "grpc.subchannel.disconnections");
            if !ended {
                let metrics = telemetry.meter_provider();
                std::thread::spawn(move || metrics.force_flush());
            }
            ended.then_some(())
        })
        .await;
    telemetry.shutdown(Duration::from_secs(5)).await;

    let exported = Exported::new(&receiver);
    for (metric, expected) in [
        ("grpc.subchannel.connection_attempts_succeeded", 1),
        ("grpc.subchannel.connection_attempts_failed", 0),
        ("grpc.subchannel.disconnections", 1),
        ("grpc.subchannel.open_connections", 0),
        ("grpc.client.call.delay.duration", 1),
        ("rpc.client.call.duration", 1),
        ("grpc.client.call.duration", 1),
    ] {
        assert_eq!(exported.sum(SERVICE, metric), expected, "{metric}");
    }
    let metric = format!("{:?}", exported.metric(SERVICE, "grpc.subchannel.disconnections"));
    assert!(metric.contains("subchannel shutdown"), "{metric}");
    assert!(metric.contains(&format!("dns:///kelvin.test:{}", address.port())), "{metric}");

    for span in exported.spans().map(|(_, span)| span) {
        if span.name == "Delay" {
            let kind = text(&span.attributes, "grpc.delay_type").expect("a delay has a type");
            let reason = if kind == "resolving" {
                "dns: waiting for the first addresses of the target"
            } else {
                "round_robin: waiting for any endpoint to connect"
            };
            let [triggered] = &span.events[..] else { panic!("{span:?}") };
            assert_eq!(text(&triggered.attributes, "grpc.delay_reason"), Some(reason), "{span:?}");
        } else {
            assert_eq!(text(&span.attributes, "network.peer.address"), Some("127.0.0.1"), "{span:?}");
            assert_eq!(peer_port(span), Some(i64::from(address.port())), "{span:?}");
        }
    }
    let [call] = exported.spans_of(SERVICE, "Sent.SensorService.SendSingleReading")[..] else { panic!() };
    let events: Vec<_> = call.events.iter().map(|event| event.name.as_str()).collect();
    assert_eq!(events, ["Delayed name resolution complete"]);
}

async fn flush(telemetry: &Telemetry) {
    let (metrics, traces) = (telemetry.meter_provider(), telemetry.tracer_provider().unwrap());
    spawn_blocking(move || metrics.force_flush().and(traces.force_flush())).await.unwrap().unwrap();
}
