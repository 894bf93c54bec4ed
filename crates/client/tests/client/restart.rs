//! The server goes away and comes back.

use crate::setup::{Setup, until};

#[tokio::test]
async fn clients_go_on_when_the_server_is_back() {
    let setup = Setup::new();
    let server = setup.server(&[]);
    let address = server.address;
    let clients = ["unary", "client-streaming", "server-streaming", "bidi-streaming"]
        .map(|rpc| setup.client(rpc, address, &[]));
    until("all are ready", || clients.iter().all(|client| client.health.is_ready())).await;

    server.stop().await;
    until("none is ready", || clients.iter().all(|client| !client.health.is_ready())).await;

    let listen = address.to_string();
    let server = setup.server(&[("KELVIN_LISTEN", &listen)]);
    until("all are ready again", || clients.iter().all(|client| client.health.is_ready())).await;
    for (client, name) in clients.iter().zip(["sent", "sent", "received", "sent"]) {
        let before = client.readings(name);
        until("it goes on", || client.readings(name) > before + 20).await;
    }
    for mut client in clients {
        client.stop().await;
        assert_eq!(client.readings("acknowledged"), client.readings("measured"));
    }
    server.stop().await;
}
