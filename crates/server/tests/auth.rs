//! Tokens and client certificates, and their change under a running server.

mod support;

use std::fs;

use kelvin_credentials::ca::{LocalCa, Usage};
use kelvin_proto::{SensorStatsRequest, sensor_service_client::SensorServiceClient};
use kelvin_testing::{eventually, eventually_ok};
use support::{Files, TOKEN, TestServer, client, connect, reading};
use tokio::io::AsyncReadExt as _;
use tonic::{Code, Request, Status};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

async fn send_as(server: &TestServer, authorization: Option<&str>, pair: Option<&str>) -> Result<(), Status> {
    let channel = connect(server.address, server.files.client_tls(pair)).await.unwrap();
    let mut request = Request::new(reading("cellar", 20.0, 1));
    if let Some(value) = authorization {
        request.metadata_mut().insert("authorization", value.parse().unwrap());
    }
    SensorServiceClient::new(channel).send_single_reading(request).await.map(|_| ())
}

fn code(result: Result<(), Status>) -> Code {
    result.map_or_else(|status| status.code(), |()| Code::Ok)
}

#[tokio::test]
async fn token_is_accepted_with_and_without_bearer() {
    let server = TestServer::start(&[]).await;
    let bearer = format!("Bearer {TOKEN}");
    for right in [TOKEN, &bearer] {
        assert_eq!(code(send_as(&server, Some(right), None).await), Code::Ok, "{right}");
    }
    let (cut, longer) = (&TOKEN[1..], format!("{TOKEN}x"));
    for wrong in [None, Some(""), Some("Bearer "), Some(cut), Some(&longer), Some("Basic eDp5")] {
        let status = send_as(&server, wrong, None).await.unwrap_err();
        assert_eq!(status.code(), Code::Unauthenticated, "{wrong:?}");
        assert!(!status.message().contains(TOKEN));
    }
}

#[tokio::test]
async fn every_call_but_health_needs_a_token() {
    let server = TestServer::start(&[]).await;
    let channel = server.connect().await;
    let mut nobody = SensorServiceClient::new(channel.clone());
    let unauthenticated = [
        nobody.stream_sensor_readings(tokio_stream::empty()).await.unwrap_err().code(),
        nobody.sensor_chat(tokio_stream::empty()).await.unwrap_err().code(),
        nobody.get_sensor_readings(kelvin_proto::SensorRequest::default()).await.unwrap_err().code(),
        nobody.get_sensor_stats(SensorStatsRequest::default()).await.unwrap_err().code(),
        nobody.list_sensors(kelvin_proto::ListSensorsRequest::default()).await.unwrap_err().code(),
    ];
    assert_eq!(unauthenticated, [Code::Unauthenticated; 5]);
    HealthClient::new(channel).check(HealthCheckRequest::default()).await.unwrap();
}

#[tokio::test]
async fn certificate_without_client_auth_is_rejected() {
    let files = Files::new();
    files.issue("client", Usage::Client);
    files.issue("unstated", Usage::Unspecified);
    let server = TestServer::start_with(files, &[("KELVIN_MTLS", "optional")]).await;
    assert_eq!(code(send_as(&server, None, Some("client")).await), Code::Ok);
    assert_eq!(code(send_as(&server, None, Some("unstated")).await), Code::Unauthenticated);
    assert_eq!(code(send_as(&server, Some(TOKEN), Some("unstated")).await), Code::Ok);
    assert_eq!(code(send_as(&server, Some(TOKEN), None).await), Code::Ok);
    assert_eq!(code(send_as(&server, None, None).await), Code::Unauthenticated);
    // A wrong token is reported, whatever else is right.
    assert_eq!(code(send_as(&server, Some("wrong"), Some("client")).await), Code::Unauthenticated);
}

#[tokio::test]
async fn connection_without_a_required_certificate_is_refused() {
    let files = Files::new();
    files.issue("client", Usage::Client);
    files.issue_by(&LocalCa::generate().unwrap(), "other_ca", Usage::Client);
    let server = TestServer::start_with(files, &[("KELVIN_MTLS", "required")]).await;
    assert_eq!(code(send_as(&server, None, Some("client")).await), Code::Ok);
    // Both CAs have the same name, so that only the signature tells them apart.
    for (pair, alert) in [(None, "CertificateRequired"), (Some("other_ca"), "DecryptError")] {
        // TLS 1.3 lets a client believe that it is connected until it reads.
        let error = server.tls_stream(pair).await.read_u8().await.unwrap_err().to_string();
        assert!(error.contains(alert), "{error} should contain {alert}");
    }
}

#[tokio::test]
async fn tokens_and_certificates_change_without_a_failed_call() {
    let server = TestServer::start(&[]).await;
    let mut old = server.client().await;
    let path = server.files.path("tokens");
    fs::write(&path, format!("{TOKEN}\nthe-new-one\n")).unwrap();
    let channel = server.connect().await;
    let mut new = client(channel.clone(), "the-new-one");
    eventually_ok("the new token is accepted", async || {
        new.send_single_reading(reading("cellar", 20.0, 1)).await
    })
    .await;
    old.send_single_reading(reading("cellar", 20.0, 1)).await.unwrap();

    fs::write(&path, "the-new-one\n").unwrap();
    let mut refused = client(channel, TOKEN);
    eventually("the old token is refused", async || {
        let answer = refused.send_single_reading(reading("cellar", 20.0, 1)).await;
        answer.is_err_and(|status| status.code() == Code::Unauthenticated)
    })
    .await;

    // The next certificate is of another CA: clients who know only that one get in, and connections that are open
    // stay open.
    let renewed = LocalCa::generate().unwrap();
    fs::write(server.files.path("ca.pem"), renewed.pem()).unwrap();
    server.files.issue_by(&renewed, "server", Usage::Server);
    eventually_ok("the new certificate is shown", async || {
        connect(server.address, server.files.client_tls(None)).await
    })
    .await;
    new.send_single_reading(reading("cellar", 20.0, 1)).await.unwrap();
}

#[tokio::test]
async fn two_authorization_headers_are_unauthenticated() {
    let server = TestServer::start(&[]).await;
    let mut request = Request::new(reading("cellar", 20.0, 1));
    for value in [TOKEN, "another"] {
        request.metadata_mut().append("authorization", value.parse().unwrap());
    }
    let status =
        SensorServiceClient::new(server.connect().await).send_single_reading(request).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
}
