//! A server that accepts calls and does not respond.

use kelvin_proto::CallType;
use kelvin_testing::eventually;
use tracing::Level;

use crate::setup::{Setup, logs::Logs, proxy::Proxy};

#[tokio::test]
async fn silent_server_exceeds_deadline_and_loses_no_reading() {
    let (logs, _collecting) = Logs::collect();
    let setup = Setup::new();
    let server = setup.server(&[]);
    let proxy = Proxy::to(server.address).await;
    let settings = [("KELVIN_DEADLINE", "500ms"), ("KELVIN_STREAM_DURATION", "100ms")];
    let mut clients = CallType::ALL.map(|rpc| setup.client(rpc, proxy.address, &settings));
    eventually("all are ready", async || clients.iter().all(|client| client.health.is_ready())).await;

    proxy.mute(true);
    eventually("none is ready", async || clients.iter().all(|client| !client.health.is_ready())).await;
    let logged = logs.lines(Level::WARN, "call failed");
    assert_eq!(logged.len(), clients.len(), "{logged:?}");
    assert!(logged.iter().all(|line| line.contains("DeadlineExceeded")), "{logged:?}");

    proxy.mute(false);
    eventually("all are ready again", async || clients.iter().all(|client| client.health.is_ready())).await;
    for client in &mut clients {
        client.stop().await;
        assert_eq!(client.readings("acknowledged"), client.readings("measured"));
    }
    server.stop().await;
}
