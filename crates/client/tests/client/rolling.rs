//! A server is replaced by another, as a rolling update does it.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use kelvin_client::Channel;
use kelvin_proto::CallType;
use kelvin_testing::eventually;
use tracing::Level;

use crate::setup::{Setup, TestClient, logs::Logs};

#[tokio::test]
async fn server_replacement_fails_no_call() {
    fails_no_call(|old, new| vec![old, new]).await;
}

/// DNS may drop a server that is not ready before the server itself reports that it drains.
#[tokio::test]
async fn early_removal_from_dns_fails_no_call() {
    fails_no_call(|_, new| vec![new]).await;
}

/// Replaces a server; `meanwhile` returns the addresses of the name while the old one drains.
async fn fails_no_call(meanwhile: fn(SocketAddr, SocketAddr) -> Vec<SocketAddr>) {
    let (logs, _collecting) = Logs::collect();
    let setup = Setup::new();
    let old = setup.server(&[("KELVIN_DRAIN_DELAY", "3s")]);
    let addresses = Arc::new(Mutex::new(vec![old.address]));
    // The clients' own time to look for other servers, and to end a stream, is far off.
    let settings = [("KELVIN_DNS_REFRESH", "1h"), ("KELVIN_STREAM_DURATION", "1h")];
    let clients = CallType::ALL.map(|rpc| {
        let addresses = addresses.clone();
        TestClient::with_channel(setup.config(rpc, old.address, &settings), move |config, telemetry| {
            Channel::with_lookup(config, telemetry, move || {
                let addresses = addresses.lock().unwrap().clone();
                async { io::Result::<Vec<SocketAddr>>::Ok(addresses) }
            })
        })
    });
    eventually("all are ready", async || clients.iter().all(|client| client.health.is_ready())).await;
    for client in &clients[..2] {
        eventually("readings are under way", async || client.readings("sent") > 10).await;
    }

    let new = setup.server(&[]);
    *addresses.lock().unwrap() = meanwhile(old.address, new.address);
    old.stop().await;
    *addresses.lock().unwrap() = vec![new.address];

    for (client, name) in clients.iter().zip(["acknowledged", "sent", "received", "acknowledged"]) {
        let before = client.readings(name);
        eventually("it goes on", async || client.readings(name) > before + 10).await;
        assert!(client.health.is_ready());
    }
    assert_eq!(logs.lines(Level::WARN, "call failed"), Vec::<String>::new());
    for mut client in clients {
        client.stop().await;
        assert_eq!(client.readings("resent"), 0);
        assert_eq!(client.readings("acknowledged"), client.readings("measured"));
    }
    new.stop().await;
}
