//! Tokens and certificates that are wrong, or change.

use std::time::{Duration, Instant};

use kelvin_client::Channel;
use kelvin_credentials::ca::LocalCa;
use kelvin_proto::{CallType, ListSensorsRequest};
use kelvin_testing::{eventually, eventually_ok};
use tracing::Level;

use crate::setup::{SENDERS, Setup, logs::Logs, proxy::Proxy, telemetry};

#[tokio::test]
async fn rejected_token_is_logged_once_and_retried_until_replaced() {
    let (logs, _guard) = Logs::collect();
    let setup = Setup::new();
    setup.write("client-token", "another-token\n");
    let server = setup.server(&[]);
    let mut client = setup.client(CallType::Unary, server.address, &[]);
    eventually("it is logged", async || !logs.lines(Level::ERROR, "rejects the token").is_empty()).await;
    let logged = Instant::now();
    assert!(!client.health.is_ready());
    // Each attempt sends the same reading.
    eventually("it has tried twice more", async || client.readings("sent") >= 3).await;
    assert!(
        logged.elapsed() >= Duration::from_millis(1500),
        "it waits a second, then 1.6, give or take a fifth"
    );

    setup.write("client-token", "the-token\n");
    eventually("it is taken up", async || client.health.is_ready()).await;
    client.stop().await;
    let errors = logs.lines(Level::ERROR, "token");
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(errors[0].contains("client-token") && !errors[0].contains("another-token"), "{errors:?}");
    assert_eq!(logs.lines(Level::INFO, "calls recovered").len(), 1);
    assert_eq!(client.readings("acknowledged"), client.readings("measured"));
    server.stop().await;
}

#[tokio::test]
async fn wrong_ca_is_logged_with_its_cause() {
    let (logs, _guard) = Logs::collect();
    let setup = Setup::new();
    let server = setup.server(&[]);
    setup.write("ca.pem", &LocalCa::generate().unwrap().pem());
    let mut client = setup.client(CallType::Unary, server.address, &[("KELVIN_DRAIN_TIMEOUT", "10ms")]);
    eventually("it is logged", async || !logs.lines(Level::WARN, "call failed").is_empty()).await;
    client.stop().await;
    let line = &logs.lines(Level::WARN, "call failed")[0];
    assert!(line.contains("certificate"), "{line}");
    server.stop().await;
}

#[tokio::test]
async fn certificate_without_client_auth_is_logged() {
    let (logs, _guard) = Logs::collect();
    let setup = Setup::new();
    let server = setup.server(&[]);
    let [cert, key] = ["server.pem", "server-key.pem"].map(|name| setup.path(name).display().to_string());
    let mut client = setup.client(
        CallType::Unary,
        server.address,
        &[("KELVIN_TLS_CERT", &cert), ("KELVIN_TLS_KEY", &key)],
    );
    eventually("the server does not ask for it", async || client.health.is_ready()).await;
    client.stop().await;
    assert_eq!(logs.lines(Level::WARN, "without clientAuth").len(), 1);
    server.stop().await;
}

#[tokio::test]
async fn credential_rotation_fails_no_call() {
    let (logs, _guard) = Logs::collect();
    let setup = Setup::new();
    let server = setup.server(&[("KELVIN_MTLS", "required")]);
    let proxy = Proxy::to(server.address).await;
    let certificate = [
        ("KELVIN_TLS_CERT", setup.path("client.pem").to_str().unwrap().to_owned()),
        ("KELVIN_TLS_KEY", setup.path("client-key.pem").to_str().unwrap().to_owned()),
    ];
    let certificate = certificate.each_ref().map(|(variable, value)| (*variable, value.as_str()));
    let mut clients = SENDERS.map(|rpc| setup.client(rpc, proxy.address, &certificate));
    eventually("all are ready", async || clients.iter().all(|client| client.health.is_ready())).await;

    // As a CA is changed: both trust the new one first, then have certificates of it.
    let new = LocalCa::generate().unwrap();
    let old = std::fs::read_to_string(setup.path("ca.pem")).unwrap();
    let before = proxy.accepted();
    setup.write("ca.pem", &(old + &new.pem()));
    eventually("all reconnect", async || proxy.accepted() >= before + clients.len()).await;
    let before = proxy.accepted();
    setup.issue(&new);
    eventually("all reconnect", async || proxy.accepted() >= before + clients.len()).await;
    // The server accepts both tokens before clients have the new one.
    setup.write("tokens", "the-token\nnext-token\n");
    setup.write("next-token", "next-token");
    let next = setup.path("next-token");
    let next = [certificate.as_slice(), &[("KELVIN_TOKEN_FILE", next.to_str().unwrap())]].concat();
    let mut stub = Channel::open(&setup.config(CallType::Unary, server.address, &next), &telemetry(None))
        .unwrap()
        .client();
    eventually_ok("the server knows the next token", async || {
        stub.list_sensors(ListSensorsRequest::default()).await
    })
    .await;
    setup.write("client-token", "next-token\n");
    // The server ends calls whose certificate it no longer trusts, so the old CA goes after the last of them.
    eventually("only new certificates are in use", async || proxy.open_connections() == clients.len()).await;
    setup.write("ca.pem", &new.pem());
    for client in &clients {
        let before = client.readings("acknowledged");
        eventually("it goes on", async || client.readings("acknowledged") > before + 100).await;
    }
    for client in &mut clients {
        client.stop().await;
        assert_eq!(client.readings("resent"), 0);
        assert_eq!(client.readings("acknowledged"), client.readings("measured"));
    }
    assert_eq!(logs.lines(Level::WARN, "call failed"), [""; 0]);
    server.stop().await;
}
