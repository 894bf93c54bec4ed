//! What connections may cost, and what happens to those that cost more.

mod support;

use std::{fs, future::poll_fn};

use bytes::Bytes;
use h2::{
    Reason,
    client::{Builder, SendRequest},
};
use http::Request;
use kelvin_proto::SensorRequest;
use kelvin_testing::eventually;
use prost::Message as _;
use support::{PATIENCE, TOKEN, TestServer, reading};
use tokio::{task::JoinHandle, time::timeout};

const UNARY: &str = "/SensorService/SendSingleReading";
const CHAT: &str = "/SensorService/SensorChat";
const WATCH: &str = "/grpc.health.v1.Health/Watch";

/// A connection, and how it ends.
struct Connection {
    send: SendRequest<Bytes>,
    driver: JoinHandle<Result<(), h2::Error>>,
}

impl Connection {
    async fn open(server: &TestServer, stream_window: u32) -> Self {
        let stream = server.tls_stream(None).await;
        let (send, connection) =
            Builder::new().initial_window_size(stream_window).handshake(stream).await.unwrap();
        Self { send, driver: tokio::spawn(connection) }
    }

    /// Begins a call.
    async fn call(
        &mut self,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Result<(h2::client::ResponseFuture, h2::SendStream<Bytes>), h2::Error> {
        let mut request =
            Request::post(format!("https://localhost{path}")).header("content-type", "application/grpc");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        poll_fn(|cx| self.send.poll_ready(cx)).await?;
        self.send.send_request(request.body(()).unwrap(), false)
    }

    /// A call of one reading. Returns the status in the headers, where the reply has nothing else.
    async fn send_reading(&mut self, token: &str) -> Result<Option<String>, h2::Error> {
        let (response, mut send) = self.call(UNARY, &[("authorization", token)]).await?;
        let _ = send.send_data(framed(&reading("cellar", 20.0, 1).encode_to_vec()), true);
        let response = response.await?;
        Ok(response.headers().get("grpc-status").map(|status| status.to_str().unwrap().to_owned()))
    }

    async fn watch(&mut self) -> (Option<String>, h2::RecvStream, h2::SendStream<Bytes>) {
        let (response, mut send) = self.call(WATCH, &[]).await.unwrap();
        send.send_data(framed(b""), true).unwrap();
        let (head, body) = response.await.unwrap().into_parts();
        let status = head.headers.get("grpc-status").map(|status| status.to_str().unwrap().to_owned());
        (status, body, send)
    }

    async fn ended(self) -> Result<(), h2::Error> {
        let Self { send, driver } = self;
        let ended = timeout(PATIENCE, driver).await.expect("the server closes the connection").unwrap();
        drop(send);
        ended
    }
}

/// Why the server resets a call of whose reply nothing is released, so that the window stays as it is.
async fn reset_of(body: &mut h2::RecvStream) -> Option<Reason> {
    loop {
        match body.data().await? {
            Ok(_) => {}
            Err(error) => return error.reason(),
        }
    }
}

fn framed(message: &[u8]) -> Bytes {
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[0], &length[..], message].concat().into()
}

#[tokio::test]
async fn fifth_open_call_without_a_token_is_resource_exhausted() {
    let server = TestServer::start(&[]).await;
    let mut connection = Connection::open(&server, 65_535).await;
    let mut open = Vec::new();
    for _ in 0..4 {
        let (status, body, send) = connection.watch().await;
        assert_eq!(status, None);
        open.push((body, send));
    }
    assert_eq!(connection.watch().await.0.as_deref(), Some("8"));
    // A call with a token is as good as ever, and lifts the limit.
    assert_eq!(connection.send_reading(TOKEN).await.unwrap(), None);
    assert_eq!(connection.watch().await.0, None);
}

#[tokio::test]
async fn hundred_consecutive_refused_calls_close_the_connection() {
    let server = TestServer::start(&[]).await;
    let mut connection = Connection::open(&server, 65_535).await;
    let mut refused = 0;
    while let Ok(status) = connection.send_reading("wrong").await {
        assert_eq!(status.as_deref(), Some("16"));
        refused += 1;
    }
    assert!((99..=100).contains(&refused), "{refused}");
    assert_eq!(connection.ended().await.unwrap_err().reason(), Some(Reason::ENHANCE_YOUR_CALM));

    // In a row: a call that is answered in between begins a new one.
    let mut prober = Connection::open(&server, 65_535).await;
    for _ in 0..3 {
        for _ in 0..90 {
            assert_eq!(prober.send_reading("wrong").await.unwrap().as_deref(), Some("16"));
        }
        assert_eq!(prober.watch().await.0, None);
    }

    let mut gateway = Connection::open(&server, 65_535).await;
    assert_eq!(gateway.send_reading(TOKEN).await.unwrap(), None);
    for _ in 0..300 {
        assert_eq!(gateway.send_reading("wrong").await.unwrap().as_deref(), Some("16"));
    }
    assert_eq!(gateway.send_reading(TOKEN).await.unwrap(), None);
}

#[tokio::test]
async fn idle_unauthenticated_connection_without_calls_is_closed() {
    let server = TestServer::start(&[("KELVIN_UNAUTHENTICATED_IDLE_TIMEOUT", "300ms")]).await;
    let mut watching = Connection::open(&server, 65_535).await;
    let open = watching.watch().await;
    let mut authenticated = Connection::open(&server, 65_535).await;
    authenticated.send_reading(TOKEN).await.unwrap();
    // A closed connection ends without an error: GOAWAY with NO_ERROR.
    Connection::open(&server, 65_535).await.ended().await.unwrap();
    Connection::open(&server, 65_535).await.ended().await.unwrap();
    assert!(!watching.driver.is_finished() && !authenticated.driver.is_finished());
    authenticated.send_reading(TOKEN).await.unwrap();
    drop(open);
    watching.ended().await.unwrap();
}

#[tokio::test]
async fn unauthenticated_limit_closes_idle_then_newest_connections() {
    let server = TestServer::start(&[("KELVIN_MAX_UNAUTHENTICATED_CONNECTIONS", "3")]).await;
    let mut first = Connection::open(&server, 65_535).await;
    let _first_watch = first.watch().await;
    let idle = Connection::open(&server, 65_535).await;
    let mut last = Connection::open(&server, 65_535).await;
    let _last_watch = last.watch().await;
    let mut fourth = Connection::open(&server, 65_535).await;
    let _fourth_watch = fourth.watch().await;
    idle.ended().await.unwrap();
    assert!(!first.driver.is_finished() && !last.driver.is_finished());
    // All have an open call now.
    let mut newcomer = Connection::open(&server, 65_535).await;
    newcomer.send_reading(TOKEN).await.unwrap();
    eventually("the newest gives way", async || fourth.driver.is_finished()).await;
    assert!(!first.driver.is_finished() && !last.driver.is_finished());
}

#[tokio::test]
async fn bytes_of_unauthenticated_calls_close_their_connection() {
    let server = TestServer::start(&[]).await;
    let mut connection = Connection::open(&server, 65_535).await;
    let mut open = Vec::new();
    for _ in 0..4 {
        let Ok((response, mut send)) = connection.call("/grpc.health.v1.Health/Check", &[]).await else {
            break;
        };
        // A message of 64 KiB of which the last bytes never come.
        let _ = send.send_data(Bytes::from([vec![0, 0, 1, 0, 0], vec![0; 50_000]].concat()), false);
        open.push((response, send));
    }
    assert_eq!(connection.ended().await.unwrap_err().reason(), Some(Reason::ENHANCE_YOUR_CALM));
}

#[tokio::test]
async fn stream_sent_with_the_first_call_keeps_its_connection() {
    let server = TestServer::start(&[]).await;
    let mut connection = Connection::open(&server, 65_535).await;
    let message = framed(&reading("x", 20.0, 1).encode_to_vec());
    let count = 60_000 / message.len();
    let (response, mut send) =
        connection.call("/SensorService/StreamSensorReadings", &[("authorization", TOKEN)]).await.unwrap();
    // All that the initial window takes, in frames that cost 260 bytes each.
    for _ in 0..count {
        send.send_data(message.clone(), false).unwrap();
    }
    send.send_data(Bytes::new(), true).unwrap();
    let mut body = response.await.expect("the connection stays open").into_body();
    while let Some(data) = body.data().await {
        data.unwrap();
    }
    assert_eq!(body.trailers().await.unwrap().unwrap()["grpc-status"], "0");
    connection.send_reading(TOKEN).await.unwrap();
}

#[tokio::test]
async fn exceeded_memory_budget_closes_the_largest_connection() {
    let settings =
        [("KELVIN_CONNECTION_MEMORY_LIMIT", "2MiB"), ("KELVIN_UNAUTHENTICATED_MEMORY_LIMIT", "1MiB")];
    let server = TestServer::start(&settings).await;
    let mut modest = Connection::open(&server, 65_535).await;
    modest.send_reading(TOKEN).await.unwrap();
    // Its answers cannot be sent, so that its readings are not read.
    let mut greedy = Connection::open(&server, 0).await;
    let mut chats = Vec::new();
    for _ in 0..20 {
        let Ok((response, mut send)) = greedy.call(CHAT, &[("authorization", TOKEN)]).await else { break };
        for _ in 0..3000 {
            let _ = send.send_data(framed(&reading("cellar", 20.0, 1).encode_to_vec()), false);
        }
        chats.push((response, send));
    }
    assert_eq!(greedy.ended().await.unwrap_err().reason(), Some(Reason::ENHANCE_YOUR_CALM));
    modest.send_reading(TOKEN).await.unwrap();
}

#[tokio::test]
async fn closed_window_does_not_outlive_deadline_and_stream_age() {
    let server = TestServer::start(&[("KELVIN_MAX_STREAM_AGE", "1s")]).await;
    let authorization = ("authorization", TOKEN);
    for (window, headers) in [
        (0, &[authorization, ("grpc-timeout", "200m")][..]),
        (0, &[authorization][..]),
        (3, &[authorization][..]),
    ] {
        let mut connection = Connection::open(&server, window).await;
        let (response, mut send) = connection.call(UNARY, headers).await.unwrap();
        send.send_data(framed(&reading("cellar", 20.0, 1).encode_to_vec()), true).unwrap();
        let mut body = response.await.unwrap().into_body();
        let reset = timeout(PATIENCE, reset_of(&mut body)).await.expect("the call ends");
        assert_eq!(reset, Some(Reason::CANCEL), "window {window}");
    }
}

#[tokio::test]
async fn closed_window_does_not_outlive_the_token() {
    let server = TestServer::start(&[]).await;
    let mut connection = Connection::open(&server, 3).await;
    connection.send_reading(TOKEN).await.unwrap();
    let path = "/SensorService/GetSensorReadings";
    let (response, mut send) = connection.call(path, &[("authorization", TOKEN)]).await.unwrap();
    let request = SensorRequest { sensor_id: "cellar".to_owned(), follow: true, ..SensorRequest::default() };
    send.send_data(framed(&request.encode_to_vec()), true).unwrap();
    let mut body = response.await.unwrap().into_body();
    // The window is used up: the rest of the message waits.
    assert_eq!(body.data().await.unwrap().unwrap().len(), 3);
    fs::write(server.files.path("tokens"), "another\n").unwrap();
    let reset = timeout(PATIENCE, reset_of(&mut body)).await.expect("the call ends");
    assert_eq!(reset, Some(Reason::CANCEL));
}
