//! Reflection and the health check of the command line.

mod support;

use kelvin_credentials::ca::{LocalCa, Usage};
use kelvin_server::{Config, healthcheck};
use kelvin_testing::eventually;
use support::{Files, TestServer, client};
use tonic::{Code, Request, Status};
use tonic_reflection::pb::{v1, v1alpha};

macro_rules! list_services {
    ($version:ident, $server:expr, $token:expr) => {{
        use $version::{
            server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
        };
        let mut client =
            $version::server_reflection_client::ServerReflectionClient::new($server.connect().await);
        let message_request = Some(MessageRequest::ListServices(String::new()));
        let question = $version::ServerReflectionRequest { host: String::new(), message_request };
        let mut request = Request::new(tokio_stream::once(question));
        let token: Option<&str> = $token;
        if let Some(token) = token {
            request.metadata_mut().insert("authorization", token.parse().unwrap());
        }
        match client.server_reflection_info(request).await {
            Err(status) => Err(status),
            Ok(answers) => match answers.into_inner().message().await.unwrap().unwrap().message_response {
                Some(MessageResponse::ListServicesResponse(list)) => {
                    let mut names: Vec<_> = list.service.into_iter().map(|service| service.name).collect();
                    names.sort();
                    Ok(names)
                }
                other => panic!("{other:?}"),
            },
        }
    }};
}

fn code<T>(result: Result<T, Status>) -> Code {
    result.map_or_else(|status| status.code(), |_| Code::Ok)
}

#[tokio::test]
async fn reflection_lists_all_services_in_both_versions() {
    let server = TestServer::start(&[]).await;
    let token = Some(support::TOKEN);
    let names = list_services!(v1, server, token).unwrap();
    assert_eq!(names, ["SensorService", "grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection"]);
    let names = list_services!(v1alpha, server, token).unwrap();
    assert_eq!(names, ["SensorService", "grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"]);
    assert_eq!(code(list_services!(v1, server, None)), Code::Unauthenticated);
}

#[tokio::test]
async fn reflection_can_be_switched_off() {
    let server = TestServer::start(&[("KELVIN_REFLECTION", "false")]).await;
    assert_eq!(code(list_services!(v1, server, Some(support::TOKEN))), Code::Unimplemented);
}

fn settings_of(server: &TestServer, mtls: &str) -> Config {
    let address = server.address.to_string();
    let extra = [("KELVIN_LISTEN", address.as_str()), ("KELVIN_MTLS", mtls)];
    Config::from_pairs(server.files.settings_with(&extra)).unwrap()
}

#[tokio::test]
async fn healthcheck_connects_over_tls() {
    let mut server = TestServer::start(&[("KELVIN_DRAIN_DELAY", "1s")]).await;
    let config = settings_of(&server, "none");
    healthcheck::check(&config).await.unwrap();
    server.shut_down();
    eventually("the check fails while draining", async || {
        healthcheck::check(&config).await.is_err_and(|error| error.to_string().contains("NOT_SERVING"))
    })
    .await;
    server.ended().await.unwrap();
    let error = healthcheck::check(&config).await.unwrap_err();
    assert!(error.to_string().starts_with("no healthy server at 127.0.0.1:"), "{error}");
}

#[tokio::test]
async fn healthcheck_presents_server_cert_under_mtls() {
    let files = Files::new();
    // As cert-manager issues them: no usage is stated, so it is good for both sides, and authenticates nobody.
    files.issue("server", Usage::Unspecified);
    let server = TestServer::start_with(files, &[("KELVIN_MTLS", "required")]).await;
    healthcheck::check(&settings_of(&server, "required")).await.unwrap();
    let tls = server.files.client_tls(Some("server"));
    let channel = support::connect(server.address, tls).await.unwrap();
    let mut nobody = kelvin_proto::sensor_service_client::SensorServiceClient::new(channel.clone());
    assert_eq!(
        code(nobody.send_single_reading(support::reading("cellar", 20.0, 1)).await),
        Code::Unauthenticated
    );
    let mut known = client(channel, support::TOKEN);
    known.send_single_reading(support::reading("cellar", 20.0, 1)).await.unwrap();
}

#[tokio::test]
async fn server_only_certificate_is_reported_by_the_healthcheck() {
    let server = TestServer::start(&[("KELVIN_MTLS", "required")]).await;
    let error = healthcheck::check(&settings_of(&server, "required")).await.unwrap_err();
    let text = kelvin_app::error_chain(&error);
    assert!(text.contains("server.pem is for servers only") && text.contains("/readyz"), "{text}");
}

#[tokio::test]
async fn healthcheck_reports_rejected_client_certificate() {
    let files = Files::new();
    files.issue("server", Usage::Unspecified);
    let server = TestServer::start_with(files, &[("KELVIN_MTLS", "required")]).await;
    // The server goes on with the pair that it has; the file is of another CA.
    server.files.issue_by(&LocalCa::generate().unwrap(), "other_ca", Usage::Unspecified);
    let path = |name| server.files.path(name);
    let mut config = settings_of(&server, "required");
    (config.tls_cert, config.tls_key) = (Some(path("other_ca.pem")), Some(path("other_ca.key")));
    let text = kelvin_app::error_chain(&healthcheck::check(&config).await.unwrap_err());
    // With TLS 1.3 the server's alert may or may not come before the connection's end.
    assert!(text.starts_with("no healthy server at 127.0.0.1:") && !text.contains("code:"), "{text}");
}
