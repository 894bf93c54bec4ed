//! Calls are spread over all addresses; one that is down gets none until it is back.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use kelvin_app::unix_now;
use kelvin_client::{Channel, Client};
use kelvin_proto::{CallType, SensorReading};
use kelvin_testing::eventually;

use crate::setup::{Setup, telemetry};

async fn send(client: &mut Client, readings: usize) {
    for _ in 0..readings {
        let reading = SensorReading { sensor_id: "a".into(), temperature: 20.0, timestamp: unix_now() };
        client.send_single_reading(reading).await.unwrap();
    }
}

#[tokio::test]
async fn calls_are_spread_over_all_addresses() {
    let setup = Setup::new();
    let servers = [setup.server(&[]), setup.server(&[]), setup.server(&[])];
    let [a, b, c] = servers.each_ref().map(|server| server.address);
    let addresses = Arc::new(Mutex::new(vec![a, b]));
    let looked_up = addresses.clone();
    let config = setup.config(CallType::Unary, a, &[("KELVIN_DNS_REFRESH", "10ms")]);
    let channel = Channel::with_lookup(&config, &telemetry(None), move || {
        let addresses = looked_up.lock().unwrap().clone();
        async { Ok::<Vec<SocketAddr>, _>(addresses) }
    });
    let channel = channel.unwrap();
    let mut client = channel.client();
    let stored = async || [setup.stored(a).await.0, setup.stored(b).await.0, setup.stored(c).await.0];

    eventually("two are connected", async || channel.connections() == 2).await;
    send(&mut client, 20).await;
    assert_eq!(stored().await, [10, 10, 0]);

    // A third one comes up.
    addresses.lock().unwrap().push(c);
    eventually("three are connected", async || channel.connections() == 3).await;
    send(&mut client, 30).await;
    assert_eq!(stored().await, [20, 20, 10]);

    // The first one is down for as long as a wait between attempts, and no call fails.
    let [down, second, third] = servers;
    down.stop().await;
    send(&mut client, 20).await;
    assert_eq!([setup.stored(b).await.0, setup.stored(c).await.0].iter().sum::<u64>(), 50);

    let listen = a.to_string();
    let restarted = setup.server(&[("KELVIN_LISTEN", &listen)]);
    eventually("three are connected again", async || channel.connections() == 3).await;
    send(&mut client, 30).await;
    assert_eq!(setup.stored(a).await.0, 10);

    // Its address is removed from the name: no call goes there, though it serves.
    addresses.lock().unwrap().retain(|address| *address != a);
    eventually("two are connected", async || channel.connections() == 2).await;
    send(&mut client, 20).await;
    assert_eq!(setup.stored(a).await.0, 10);
    for server in [restarted, second, third] {
        server.stop().await;
    }
}

#[tokio::test]
async fn error_names_failure_of_each_address() {
    let setup = Setup::new();
    let server = setup.server(&[]);
    let address = server.address;
    server.stop().await;
    let mut client = setup.stub(address);
    let started = std::time::Instant::now();
    let status = client.send_single_reading(SensorReading::default()).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::Unavailable);
    assert!(status.message().contains(&format!("{address}: Connection refused")), "{status}");
    assert!(started.elapsed() < Duration::from_secs(5), "it did not wait for the deadline");
}
