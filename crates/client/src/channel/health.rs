//! Client-side health checking,
//! [gRFC A17](https://github.com/grpc/proposal/blob/master/A17-client-side-health-checking.md).

use std::{convert::Infallible, future::pending};

use http::Uri;
use hyper::client::conn::http2::SendRequest;
use tonic::{Status, body::Body};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

/// Calls `report` whenever the server at the other end of `connection` starts or stops serving. A server without the
/// health service is never reported: it counts as serving.
pub(super) async fn watch(connection: SendRequest<Body>, origin: Uri, report: impl Fn(bool)) -> Infallible {
    if let Err(status) = call_watch(connection, origin, report).await {
        tracing::debug!(%status, "the server's health is no longer watched");
    }
    pending().await
}

async fn call_watch(connection: SendRequest<Body>, origin: Uri, report: impl Fn(bool)) -> Result<(), Status> {
    let service = tower::service_fn(move |request| connection.clone().send_request(request));
    let whole_server = HealthCheckRequest { service: String::new() };
    let mut responses = HealthClient::with_origin(service, origin).watch(whole_server).await?.into_inner();
    while let Some(response) = responses.message().await? {
        report(response.status() != ServingStatus::NotServing);
    }
    Ok(())
}
