//! No reading is lost, whatever ends connections and streams.

use std::net::SocketAddr;

use kelvin_proto::CallType;
use kelvin_testing::eventually;

use crate::setup::{SENDERS, Setup, TestClient, proxy::Proxy};

/// With so many sensors and this seed, each of the first 1000 readings is of another sensor, so that the server's
/// list of sensors tells which readings came.
const MANY_SENSORS: [(&str, &str); 4] = [
    ("KELVIN_SENSORS", "100000"),
    ("KELVIN_SEED", "199"),
    ("KELVIN_INTERVAL_MIN", "10ms"),
    ("KELVIN_INTERVAL_MAX", "40ms"),
];

fn client(setup: &Setup, rpc: CallType, address: SocketAddr, length: &str) -> TestClient {
    let settings = [MANY_SENSORS.as_slice(), &[("KELVIN_STREAM_DURATION", length)]].concat();
    setup.client(rpc, address, &settings)
}

/// Ends the client and compares what it measured with what the server holds.
async fn stop_and_compare(setup: &Setup, client: &mut TestClient, server: SocketAddr) {
    client.stop().await;
    let measured = client.readings("measured");
    assert!(measured < 1000, "more readings than the seed is good for");
    assert_eq!(client.readings("dropped") + client.readings("rejected"), 0);
    assert_eq!(client.readings("acknowledged"), measured);
    let (_, sensors) = setup.stored(server).await;
    assert_eq!(sensors, measured, "readings that were acknowledged are missing");
}

async fn loses_nothing_when_connections_are_reset(rpc: CallType) {
    let setup = Setup::new();
    let server = setup.server(&[]);
    let proxy = Proxy::to(server.address).await;
    let mut client = client(&setup, rpc, proxy.address, "100ms");
    for _ in 0..5 {
        let before = client.readings("acknowledged");
        eventually("it goes on", async || client.readings("acknowledged") > before + 5).await;
        proxy.mute(true);
        let unanswered = async || {
            let acknowledged = client.readings("acknowledged") + client.readings("resent");
            client.readings("sent") > acknowledged
        };
        eventually("a reading is not answered", unanswered).await;
        proxy.reset_connections();
        proxy.mute(false);
    }
    if rpc != CallType::Unary {
        eventually("readings are sent again", async || client.readings("resent") > 0).await;
    }
    stop_and_compare(&setup, &mut client, server.address).await;
    if rpc == CallType::Unary {
        // Its calls are repeated as a whole, below the count of readings.
        assert!(client.sum("grpc.client.attempt.started") > client.readings("sent"));
    }
    server.stop().await;
}

#[tokio::test]
async fn unary_loses_nothing_when_connections_are_reset() {
    loses_nothing_when_connections_are_reset(CallType::Unary).await;
}

#[tokio::test]
async fn client_streaming_loses_nothing_when_connections_reset() {
    loses_nothing_when_connections_are_reset(CallType::ClientStreaming).await;
}

#[tokio::test]
async fn bidi_streaming_loses_nothing_when_connections_reset() {
    loses_nothing_when_connections_are_reset(CallType::BidiStreaming).await;
}

async fn loses_nothing_at_max_stream_age(rpc: CallType) {
    let setup = Setup::new();
    let server = setup.server(&[("KELVIN_MAX_STREAM_AGE", "100ms")]);
    let mut client = client(&setup, rpc, server.address, "1h");
    eventually("readings are acknowledged", async || client.readings("acknowledged") > 50).await;
    stop_and_compare(&setup, &mut client, server.address).await;
    server.stop().await;
}

#[tokio::test]
async fn client_streaming_loses_nothing_at_max_stream_age() {
    loses_nothing_at_max_stream_age(CallType::ClientStreaming).await;
}

#[tokio::test]
async fn bidi_streaming_loses_nothing_at_max_stream_age() {
    loses_nothing_at_max_stream_age(CallType::BidiStreaming).await;
}

#[tokio::test]
async fn shutdown_waits_for_last_acknowledgement() {
    let setup = Setup::new();
    let server = setup.server(&[]);
    for rpc in SENDERS {
        let prefix = format!("{rpc}-last-");
        let mut client = setup.client(
            rpc,
            server.address,
            &[("KELVIN_STREAM_DURATION", "1h"), ("KELVIN_SENSOR_PREFIX", &prefix)],
        );
        eventually("readings are sent", async || client.readings("sent") > 20).await;
        client.stop().await;
        assert_eq!(client.readings("acknowledged"), client.readings("measured"), "{rpc}");
        assert_eq!(client.readings("resent"), 0, "{rpc}");
    }
    server.stop().await;
}
