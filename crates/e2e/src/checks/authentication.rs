//! Authentication of callers and of the server: wrong or missing credentials must be rejected.

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::api::core::v1::Secret;
use kelvin_proto::SensorRequest;
use kube::Api;
use tonic::{Code, Status};

use crate::{
    cluster::Cluster,
    server::{Caller, Client},
};

/// Checks that a call with neither a token nor a client certificate is rejected.
pub async fn no_token(cluster: &Cluster) -> Result<String> {
    unauthenticated(Caller::new(cluster).await?.with_token(None)?).await
}

/// Checks that a call with an unknown token is rejected.
pub async fn wrong_token(cluster: &Cluster) -> Result<String> {
    unauthenticated(Caller::new(cluster).await?.with_token(Some("Bearer not-a-token"))?).await
}

/// Checks that a client certificate authenticates a call without a token.
pub async fn client_certificate(cluster: &Cluster) -> Result<String> {
    match call(&Caller::new(cluster).await?.with_token(None)?.with_certificate().await?).await {
        Ok(()) => Ok("accepted".to_owned()),
        Err(error) => Err(error.into()),
    }
}

/// Checks that the server closes a plain-text connection.
pub async fn plain_text(cluster: &Cluster) -> Result<String> {
    // An HTTP/2 client does not wait for the server's preface, so this only shows that the port is reachable.
    let client = Caller::new(cluster).await?.without_tls().client().await.context("connecting")?;
    match read(client).await {
        Ok(()) => bail!("the call succeeded, but should have been refused"),
        Err(status) => {
            // The status code that tonic returns for a closed connection depends on when the call notices it. In each case
            // hyper's error is among the causes, but not for a status from the server, a timeout or a failed connect.
            let ended = causes(&status)
                .filter_map(|cause| cause.downcast_ref::<hyper::Error>())
                .any(|error| !error.is_timeout());
            ensure!(ended, "the connection was not closed: {}", chain(&status));
            Ok("connection ended".to_owned())
        }
    }
}

/// Checks that a client that does not trust the cluster's CA rejects the server's certificate.
pub async fn other_ca(cluster: &Cluster) -> Result<String> {
    // The other CA is that of the Prometheus operator's webhook.
    let operators = Api::<Secret>::namespaced(cluster.client.clone(), "monitoring");
    let secret = operators.get("prometheus-kube-prometheus-root-cert").await?;
    let other = secret
        .data
        .and_then(|mut data| data.remove("ca.crt"))
        .context("Secret prometheus-kube-prometheus-root-cert has no ca.crt")?
        .0;
    match Caller::new(cluster).await?.with_ca(&other)?.channel().await {
        Ok(_) => bail!("the server's certificate was accepted, but its CA is not trusted"),
        Err(error) => {
            let cause = chain(&error);
            ensure!(
                cause.contains("UnknownIssuer") || cause.contains("BadSignature"),
                "unexpected error: {cause}"
            );
            Ok("unknown issuer".to_owned())
        }
    }
}

/// Makes a call and checks that it fails with `UNAUTHENTICATED`.
async fn unauthenticated(caller: Caller) -> Result<String> {
    match call(&caller).await {
        Ok(()) => bail!("the call succeeded, but should have been refused"),
        Err(status) if status.code() == Code::Unauthenticated => Ok(status.message().to_owned()),
        Err(status) => Err(status.into()),
    }
}

async fn call(caller: &Caller) -> Result<(), Status> {
    read(caller.client().await.map_err(|error| Status::unavailable(chain(&error)))?).await
}

async fn read(mut client: Client) -> Result<(), Status> {
    let request = SensorRequest { sensor_id: "e2e".to_owned(), limit: Some(1), ..SensorRequest::default() };
    client.get_sensor_readings(request).await.map(drop)
}

/// Formats an error and its causes.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    causes(error).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// Returns an error and its causes.
fn causes<'a>(
    error: &'a (dyn std::error::Error + 'static),
) -> impl Iterator<Item = &'a (dyn std::error::Error + 'static)> {
    std::iter::successors(Some(error), |error| (*error).source())
}
