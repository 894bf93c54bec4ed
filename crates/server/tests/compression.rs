//! Compressed requests of all call types.

mod support;

use std::io::Write as _;

use flate2::{Compression, write::GzEncoder};
use http::HeaderMap;
use kelvin_proto::{Method, SensorReading, SensorRequest, SensorStatsRequest};
use prost::Message as _;
use support::{TOKEN, TestServer, client, reading};
use tokio_stream::{StreamExt as _, iter};
use tonic::{Code, body::Body, codec::CompressionEncoding};
use tonic_reflection::pb::v1::{self, server_reflection_request::MessageRequest};
use tower::{Service as _, ServiceExt as _};

const UNARY: &str = Method::SendSingleReading.full_name();
const STREAM: &str = Method::StreamSensorReadings.full_name();
const STATS: &str = Method::GetSensorStats.full_name();
const HEALTH: &str = "grpc.health.v1.Health/Check";
const REFLECTION: &str = "grpc.reflection.v1.ServerReflection/ServerReflectionInfo";

fn gzip(message: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(message).unwrap();
    encoder.finish().unwrap()
}

fn framed(flag: u8, message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[flag], &length[..], message].concat()
}

/// A call of raw bytes, its status and its headers.
async fn call(
    server: &TestServer,
    token: &str,
    path: &str,
    encoding: Option<&str>,
    body: Vec<u8>,
) -> (Code, HeaderMap) {
    let mut request = http::Request::post(format!("http://localhost/{path}"))
        .header("content-type", "application/grpc")
        .header("authorization", token);
    if let Some(encoding) = encoding {
        request = request.header("grpc-encoding", encoding);
    }
    let request = request.body(Body::new(http_body_util::Full::new(body.into()))).unwrap();
    let response = server.connect().await.ready().await.unwrap().call(request).await.unwrap();
    let (head, body) = response.into_parts();
    let trailers = http_body_util::BodyExt::collect(body).await.unwrap().trailers().cloned();
    let status = trailers.as_ref().unwrap_or(&head.headers)["grpc-status"].as_bytes().to_owned();
    (Code::from_bytes(&status), head.headers)
}

#[tokio::test]
async fn gzip_requests_of_all_call_types_are_accepted() {
    let server = TestServer::start(&[]).await;
    let mut client = server.client().await.send_compressed(CompressionEncoding::Gzip);
    let sent: Vec<SensorReading> = (0..3000).map(|n| reading("cellar", 20.0, n)).collect();
    let response = client.send_single_reading(sent[0].clone()).await.unwrap();
    assert_eq!(response.metadata().get("grpc-accept-encoding").unwrap(), "identity,gzip");
    let ack = client.stream_sensor_readings(iter(sent[1..].to_vec())).await.unwrap().into_inner();
    assert_eq!(ack.accepted, Some(2999));
    let chat = client.sensor_chat(iter(sent[..10].to_vec())).await.unwrap().into_inner();
    assert_eq!(chat.map(Result::unwrap).collect::<Vec<_>>().await.len(), 10);
    let request = SensorRequest { sensor_id: "cellar".into(), ..SensorRequest::default() };
    let got: Vec<_> = client
        .get_sensor_readings(request)
        .await
        .unwrap()
        .into_inner()
        .collect::<Result<_, _>>()
        .await
        .unwrap();
    assert_eq!((&got[..3000], got.len()), (&sent[..], 3010));
    let request = SensorStatsRequest { sensor_id: "cellar".into() };
    assert_eq!(client.get_sensor_stats(request).await.unwrap().into_inner().count, 3010);
}

#[tokio::test]
async fn each_message_says_whether_it_is_compressed() {
    let server = TestServer::start(&[]).await;
    let message = reading("cellar", 20.0, 1).encode_to_vec();
    let mixed = [framed(1, &gzip(&message)), framed(0, &message)].concat();
    assert_eq!(call(&server, TOKEN, STREAM, Some("gzip"), mixed.clone()).await.0, Code::Ok);
    assert_eq!(call(&server, TOKEN, STREAM, Some("identity"), framed(0, &message)).await.0, Code::Ok);
    // gRPC over HTTP/2: a compressed message needs the header.
    for encoding in [None, Some("identity")] {
        assert_eq!(call(&server, TOKEN, STREAM, encoding, mixed.clone()).await.0, Code::Internal);
    }
    for damaged in [&b""[..], b"not gzip", &gzip(&message)[..15]] {
        assert_eq!(call(&server, TOKEN, UNARY, Some("gzip"), framed(1, damaged)).await.0, Code::Internal);
    }
}

#[tokio::test]
async fn unknown_encoding_is_unimplemented_and_lists_known_ones() {
    let server = TestServer::start(&[]).await;
    let message = framed(0, &reading("cellar", 20.0, 1).encode_to_vec());
    for path in [UNARY, STREAM, "SensorService/GetSensorReadings", "SensorService/SensorChat"] {
        let (code, headers) = call(&server, TOKEN, path, Some("snappy"), message.clone()).await;
        assert_eq!(
            (code, headers["grpc-accept-encoding"].as_bytes()),
            (Code::Unimplemented, &b"identity,gzip"[..])
        );
    }
}

#[tokio::test]
async fn every_response_names_the_encodings_its_service_accepts() {
    let server = TestServer::start(&[]).await;
    let reading = framed(0, &reading("cellar", 20.0, 1).encode_to_vec());
    let list_services = v1::ServerReflectionRequest {
        message_request: Some(MessageRequest::ListServices(String::new())),
        ..v1::ServerReflectionRequest::default()
    };
    let list_services = framed(0, &list_services.encode_to_vec());
    // An empty message asks for the health of the server as a whole.
    let health_check = framed(0, &[]);
    for (token, path, encoding, body, expected) in [
        (TOKEN, UNARY, None, &reading, (Code::Ok, "identity,gzip")),
        (TOKEN, STREAM, None, &reading, (Code::Ok, "identity,gzip")),
        (TOKEN, STATS, None, &reading, (Code::Ok, "identity,gzip")),
        ("wrong", UNARY, None, &reading, (Code::Unauthenticated, "identity,gzip")),
        ("wrong", STREAM, Some("snappy"), &reading, (Code::Unauthenticated, "identity,gzip")),
        (TOKEN, "SensorService/NoSuchMethod", None, &reading, (Code::Unimplemented, "identity,gzip")),
        // Nothing is decompressed for health, which needs no token, nor for reflection.
        ("wrong", HEALTH, None, &health_check, (Code::Ok, "identity")),
        (TOKEN, HEALTH, Some("gzip"), &health_check, (Code::Unimplemented, "identity")),
        (TOKEN, "grpc.health.v1.Health/NoSuchMethod", None, &health_check, (Code::Unimplemented, "identity")),
        (TOKEN, REFLECTION, None, &list_services, (Code::Ok, "identity")),
        (TOKEN, REFLECTION, Some("gzip"), &list_services, (Code::Unimplemented, "identity")),
    ] {
        let (code, headers) = call(&server, token, path, encoding, body.clone()).await;
        let accepted = headers.get("grpc-accept-encoding").map(|value| value.to_str().unwrap());
        assert_eq!((code, accepted), (expected.0, Some(expected.1)), "{path} with {encoding:?}");
    }
}

/// A varint of `WIDTH` bytes, padded with empty groups.
fn padded_varint(mut value: usize) -> Vec<u8> {
    const WIDTH: usize = 4;
    (1..=WIDTH)
        .map(|place| {
            let group = u8::try_from(value & 0x7f).unwrap();
            value >>= 7;
            if place < WIDTH { group | 0x80 } else { group }
        })
        .collect()
}

#[tokio::test]
async fn bomb_counts_by_its_decompressed_length() {
    let server = TestServer::start(&[]).await;
    let limit = 64 * 1024;
    // An unknown field fills the message up.
    let padded = |length: usize| {
        let mut message = reading("cellar", 20.0, 1).encode_to_vec();
        prost::encoding::encode_key(15, prost::encoding::WireType::LengthDelimited, &mut message);
        let rest = length - message.len() - 4;
        message.extend(padded_varint(rest));
        message.resize(length, 0);
        framed(1, &gzip(&message))
    };
    // A reading is a request for the statistics of its sensor, too.
    for (path, limit) in [(UNARY, limit), (STREAM, limit), (STATS, 4096)] {
        assert_eq!(call(&server, TOKEN, path, Some("gzip"), padded(limit)).await.0, Code::Ok);
        for length in [limit + 1, 32 << 20] {
            assert_eq!(
                call(&server, TOKEN, path, Some("gzip"), padded(length)).await.0,
                Code::ResourceExhausted
            );
        }
    }
}

#[tokio::test]
async fn unauthenticated_message_is_not_decompressed() {
    let server = TestServer::start(&[]).await;
    // Decompressed, this would be an error of another kind.
    let (code, _) = call(&server, "wrong", UNARY, Some("gzip"), framed(1, b"not gzip")).await;
    assert_eq!(code, Code::Unauthenticated);
    let mut caller = client(server.connect().await, "wrong").send_compressed(CompressionEncoding::Gzip);
    let status = caller.send_single_reading(reading("cellar", 20.0, 1)).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
}
