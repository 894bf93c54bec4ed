//! The server stops and starts again.

use kelvin_proto::CallType;
use kelvin_testing::eventually;

use crate::setup::Setup;

#[tokio::test]
async fn clients_recover_after_server_restart() {
    let setup = Setup::new();
    let server = setup.server(&[]);
    let address = server.address;
    let clients = CallType::ALL.map(|rpc| setup.client(rpc, address, &[]));
    eventually("all are ready", async || clients.iter().all(|client| client.health.is_ready())).await;

    server.stop().await;
    eventually("none is ready", async || clients.iter().all(|client| !client.health.is_ready())).await;

    let listen = address.to_string();
    let server = setup.server(&[("KELVIN_LISTEN", &listen)]);
    eventually("all are ready again", async || clients.iter().all(|client| client.health.is_ready())).await;
    for (client, name) in clients.iter().zip(["sent", "sent", "received", "sent"]) {
        let before = client.readings(name);
        eventually("it goes on", async || client.readings(name) > before + 20).await;
    }
    for mut client in clients {
        client.stop().await;
        assert_eq!(client.readings("acknowledged"), client.readings("measured"));
    }
    server.stop().await;
}
