//! The health port, asked over TCP.

use std::{net::SocketAddr, time::Duration};

use kelvin_app::health::{self, Health};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::oneshot,
    time::timeout,
};

async fn start(health: &Health) -> (SocketAddr, oneshot::Sender<()>, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel();
    let served = health::serve(listener, health.clone(), async {
        let _ = stopped.await;
    });
    (address, stop, tokio::spawn(served))
}

async fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: probe\r\n\r\n").as_bytes()).await.unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).await.unwrap();
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    format!("{} {}", head.split(' ').nth(1).unwrap(), body.trim())
}

#[tokio::test]
async fn health_endpoint_returns_current_state() {
    let health = Health::new();
    let (address, _stop, _) = start(&health).await;

    assert_eq!(get(address, "/livez").await, "200 ok");
    assert_eq!(get(address, "/readyz").await, "503 starting");
    health.set_ready();
    assert!(health.is_ready());
    assert_eq!(get(address, "/readyz").await, "200 ok");
    health.set_unready("draining");
    assert_eq!(get(address, "/readyz").await, "503 draining");
    assert_eq!(get(address, "/livez").await, "200 ok");
    assert!(get(address, "/").await.starts_with("404 "));
}

#[tokio::test]
async fn metrics_path_serves_the_rendered_text_once_it_is_set() {
    let health = Health::new();
    let (address, _stop, _) = start(&health).await;

    assert!(get(address, "/metrics").await.starts_with("404 "));
    health.serve_metrics(|| "up 1\n".to_owned());
    assert_eq!(get(address, "/metrics").await, "200 up 1");
}

#[tokio::test]
async fn check_reports_readiness() {
    let health = Health::new();
    let (mut address, stop, served) = start(&health).await;
    address.set_ip([0, 0, 0, 0].into());

    let error = health::check(address).await.unwrap_err().to_string();
    assert!(error.ends_with("failed: starting"), "{error}");
    health.set_ready();
    health::check(address).await.unwrap();

    drop(stop);
    served.await.unwrap();
    let error = health::check(address).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
    assert!(error.to_string().starts_with("health check at 127.0.0.1:"), "{error}");
}

#[tokio::test]
async fn silent_peers_are_dropped_and_leave_room() {
    let health = Health::new();
    health.set_ready();
    let (address, _stop, _) = start(&health).await;

    let mut silent = Vec::new();
    for _ in 0..80 {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    let answer = timeout(Duration::from_secs(10), get(address, "/readyz")).await.unwrap();
    assert_eq!(answer, "200 ok");
}

#[tokio::test]
async fn silent_peers_without_end_leave_probes_answered() {
    let health = Health::new();
    health.set_ready();
    let (address, _stop, _) = start(&health).await;

    let mut silent = Vec::new();
    for _ in 0..10 {
        // Far below the two seconds after which silent peers time out: only closing the oldest makes room.
        for _ in 0..64 {
            silent.push(TcpStream::connect(address).await.unwrap());
        }
        let answer = timeout(Duration::from_secs(1), get(address, "/readyz")).await.unwrap();
        assert_eq!(answer, "200 ok");
    }
}
