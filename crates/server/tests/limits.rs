//! What callers may not do, and what slow ones must not cost.

mod support;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};
use kelvin_proto::{Method, SensorReading, SensorRequest, SensorStatsRequest};
use kelvin_testing::{eventually, eventually_ok};
use prost::Message as _;
use support::{PATIENCE, TOKEN, TestServer, client, connect, connect_by, reading};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    net::TcpStream,
    time::timeout,
};
use tokio_stream::{Stream, StreamExt as _};
use tonic::{
    Code,
    body::Body,
    transport::{Channel, Endpoint},
};
use tower::{Service as _, ServiceExt as _};

const UNARY: &str = Method::SendSingleReading.full_name();
const STREAM: &str = Method::StreamSensorReadings.full_name();
const STATS: &str = Method::GetSensorStats.full_name();

/// Sends bytes as they are and gives back what came: the trailers, or the headers of an answer without any.
async fn post(
    mut channel: Channel,
    path: &str,
    content_type: &str,
    body: Vec<u8>,
) -> (StatusCode, HeaderMap) {
    let request = http::Request::post(format!("http://localhost/{path}"))
        .header("content-type", content_type)
        .header("authorization", TOKEN)
        .body(Body::new(http_body_util::Full::new(Bytes::from(body))))
        .unwrap();
    let response: Response<Body> = channel.ready().await.unwrap().call(request).await.unwrap();
    let (head, body) = response.into_parts();
    let body = http_body_util::BodyExt::collect(body).await.unwrap();
    (head.status, body.trailers().cloned().unwrap_or(head.headers))
}

async fn grpc(channel: Channel, path: &str, body: Vec<u8>) -> (Code, HeaderMap) {
    let (status, trailers) = post(channel, path, "application/grpc", body).await;
    assert_eq!(status, StatusCode::OK);
    (Code::from_bytes(trailers["grpc-status"].as_bytes()), trailers)
}

fn framed(flag: u8, message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[flag], &length[..], message].concat()
}

fn text(trailers: &HeaderMap) -> &str {
    trailers["grpc-message"].to_str().unwrap()
}

#[tokio::test]
async fn unreadable_message_is_rejected_with_reason() {
    let server = TestServer::start(&[("KELVIN_MAX_MESSAGE_SIZE", "1KiB")]).await;
    let channel = server.connect().await;
    let good = reading("cellar", 20.0, 1).encode_to_vec();
    let long = vec![0; 1025];
    let stream = [framed(0, &good), framed(0, &good), framed(0, &long)].concat();

    for method in Method::ALL {
        let (code, trailers) = grpc(channel.clone(), method.full_name(), framed(0, &long)).await;
        assert_eq!(code, Code::ResourceExhausted, "{method:?}");
        assert!(text(&trailers).contains("1025") && text(&trailers).contains("1024"), "{trailers:?}");
    }
    let (code, trailers) = grpc(channel.clone(), STREAM, stream).await;
    assert_eq!(code, Code::ResourceExhausted);
    assert!(text(&trailers).contains("2%20readings"), "{trailers:?}");

    for (path, body) in [
        (UNARY, framed(1, &good)),
        (UNARY, framed(0, b"\xff\xff")),
        (UNARY, vec![]),
        (UNARY, [framed(0, &good), framed(0, &good)].concat()),
        (UNARY, framed(0, &good)[..10].to_vec()),
        (STREAM, framed(0, &good)[..10].to_vec()),
        (STATS, framed(1, &good)),
        (STATS, framed(0, b"\xff\xff")),
        (STATS, vec![]),
        (STATS, framed(0, &good)[..10].to_vec()),
    ] {
        assert_eq!(grpc(channel.clone(), path, body.clone()).await.0, Code::Internal, "{path} {body:?}");
    }
    assert_eq!(grpc(channel.clone(), "SensorService/Unknown", vec![]).await.0, Code::Unimplemented);
    assert_eq!(grpc(channel.clone(), "Other/Unknown", vec![]).await.0, Code::Unimplemented);
    for content_type in ["application/json", "application/grpc-web", "application/grpcx"] {
        let (status, _) = post(channel.clone(), UNARY, content_type, vec![]).await;
        assert_eq!(status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{content_type}");
    }
}

#[tokio::test]
async fn other_http_methods_are_not_allowed() {
    let server = TestServer::start(&[]).await;
    let mut channel = server.connect().await;
    for method in ["GET", "PUT", "OPTIONS", "DELETE"] {
        let request = http::Request::builder()
            .method(method)
            .uri(format!("http://localhost/{UNARY}"))
            .header("content-type", "application/grpc")
            .header("authorization", TOKEN)
            .body(Body::empty())
            .unwrap();
        let response = channel.ready().await.unwrap().call(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED, "{method}");
    }
}

#[tokio::test]
async fn malformed_timeout_is_invalid_argument() {
    let server = TestServer::start(&[]).await;
    let mut client = server.client().await;
    let mut send = async |timeout: &'static str| {
        let mut request = tonic::Request::new(reading("cellar", 20.0, 1));
        request.metadata_mut().insert("grpc-timeout", timeout.parse().unwrap());
        client.send_single_reading(request).await
    };
    for malformed in ["", "1", "S", "1s", "-1S", "1.5S", "123456789S"] {
        let status = send(malformed).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{malformed:?}");
        assert!(status.message().contains("grpc-timeout"), "{status}");
    }
    send("99999999H").await.unwrap();
}

#[tokio::test]
async fn large_headers_cost_their_call_and_not_the_connection() {
    let server = TestServer::start(&[("KELVIN_MAX_HEADER_SIZE", "2KiB")]).await;
    let mut client = server.client().await;
    let mut request = tonic::Request::new(reading("cellar", 20.0, 1));
    request.metadata_mut().insert("large", "x".repeat(4096).parse().unwrap());
    let status = client.send_single_reading(request).await.unwrap_err();
    // HTTP/2 refuses it before gRPC begins.
    assert!(status.message().contains("431"), "{status}");
    client.send_single_reading(reading("cellar", 20.0, 1)).await.unwrap();
}

#[tokio::test]
async fn max_concurrent_streams_is_advertised() {
    let server = TestServer::start(&[("KELVIN_MAX_CONCURRENT_STREAMS", "2")]).await;
    let (_sender, connection) = server.bare_connection().await;
    eventually("the server's settings come", async || connection.current_max_send_streams() == 2).await;
}

#[tokio::test]
async fn connections_beyond_the_limit_are_closed_until_one_ends() {
    let server = TestServer::start(&[("KELVIN_MAX_CONNECTIONS", "2")]).await;
    let tls = || server.files.client_tls(None);
    let (mut first, mut second) = (server.client().await, server.client().await);
    // Connections without an authenticated call would give way.
    first.send_single_reading(reading("cellar", 20.0, 1)).await.unwrap();
    second.send_single_reading(reading("cellar", 20.0, 1)).await.unwrap();
    connect(server.address, tls()).await.unwrap_err();
    drop(first);
    eventually_ok("there is room", async || connect(server.address, tls()).await).await;
    second.send_single_reading(reading("cellar", 20.0, 1)).await.unwrap();
}

#[tokio::test]
async fn slow_follower_learns_how_much_it_missed() {
    const HELD: u64 = 30_000;
    let server = TestServer::start(&[("KELVIN_MAX_READINGS_PER_SENSOR", &HELD.to_string())]).await;
    let fill = async || {
        let readings = (0..HELD.cast_signed()).map(|n| reading("cellar", 20.0, n)).collect::<Vec<_>>();
        server.client().await.stream_sensor_readings(tokio_stream::iter(readings)).await.unwrap();
    };
    fill().await;
    // Far from all of it fits on the way.
    let endpoint = Endpoint::from_static("http://localhost").initial_stream_window_size(65_535);
    let channel = connect_by(endpoint, server.address, server.files.client_tls(None)).await.unwrap();
    let request = SensorRequest { sensor_id: "cellar".into(), ..SensorRequest::default() };
    let mut stream = client(channel, TOKEN).get_sensor_readings(request).await.unwrap().into_inner();
    assert_eq!(stream.message().await.unwrap(), Some(reading("cellar", 20.0, 0)));
    fill().await;

    let mut got = 1;
    while stream.message().await.unwrap().is_some() {
        got += 1;
    }
    let trailers = stream.trailers().await.unwrap().unwrap();
    let missed: u64 = trailers.get("kelvin-evicted-unread").unwrap().to_str().unwrap().parse().unwrap();
    assert!(missed > 0);
    assert_eq!(got + missed, HELD);
}

#[tokio::test]
async fn idle_connection_is_closed() {
    let server = TestServer::start(&[("KELVIN_HANDSHAKE_TIMEOUT", "100ms")]).await;
    let silent = TcpStream::connect(server.address).await.unwrap();
    hung_up(silent).await;
    // Here TLS is done, but nothing is said in it.
    hung_up(server.tls_stream(None).await).await;
}

async fn hung_up(mut stream: impl AsyncRead + Unpin) {
    let mut rest = Vec::new();
    let read = timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("the server hangs up");
    assert!(matches!(read, Ok(0) | Err(_)), "{rest:?}");
}

/// Readings one by one, each in a DATA frame of its own as grpcio sends them, counted as they go.
fn one_a_frame(sensor_id: String, count: i64, sent: Arc<AtomicU64>) -> impl Stream<Item = SensorReading> {
    futures_util::stream::unfold(0, move |n| {
        let (sensor_id, sent) = (sensor_id.clone(), Arc::clone(&sent));
        async move {
            // Pending: what is encoded so far is sent.
            tokio::task::yield_now().await;
            sent.fetch_add(1, Ordering::Relaxed);
            (n < count).then(|| (reading(&sensor_id, 20.0, n), n + 1))
        }
    })
}

/// A server that reads on would buffer without bound, one whose windows do not fit ends the connection
/// (`ENHANCE_YOUR_CALM`).
#[tokio::test]
async fn slow_readers_of_tiny_frames_get_backpressure_and_answers() {
    const STREAMS: usize = 64;
    const COUNT: i64 = 3000;
    const SENT: u64 = 1500;
    let server = TestServer::start(&[]).await;
    let endpoint = Endpoint::from_static("http://localhost").initial_connection_window_size(65_535);
    let channel = connect_by(endpoint, server.address, server.files.client_tls(None)).await.unwrap();
    let client = client(channel, TOKEN);
    let mut chats = Vec::new();
    for stream in 0..STREAMS {
        let sent = Arc::new(AtomicU64::new(0));
        let readings = one_a_frame(format!("sensor-{stream}"), COUNT, Arc::clone(&sent));
        let answers = client.clone().sensor_chat(readings).await.unwrap().into_inner();
        chats.push((sent, answers));
    }
    for (sent, _) in &chats {
        eventually("the readings are sent", async || sent.load(Ordering::Relaxed) >= SENT).await;
    }
    let (mut stored, mut sent) = (0, 0);
    for (stream, (counter, _)) in chats.iter().enumerate() {
        let request = SensorStatsRequest { sensor_id: format!("sensor-{stream}") };
        let stats = server.client().await.get_sensor_stats(request).await;
        stored += stats.map_or(0, |stats| stats.into_inner().count);
        sent += counter.load(Ordering::Relaxed);
    }
    assert!(stored < sent / 2, "nobody reads the answers, yet {stored} of {sent} readings are taken");

    let reading_all = chats.into_iter().map(|(_, answers)| async {
        let answered = answers.map(|answer| answer.unwrap().accepted.unwrap());
        answered.fold(0, |_, accepted| accepted).await
    });
    let accepted = timeout(4 * PATIENCE, futures_util::future::join_all(reading_all)).await.expect("an end");
    assert_eq!(accepted, vec![COUNT.cast_unsigned(); STREAMS]);
}
