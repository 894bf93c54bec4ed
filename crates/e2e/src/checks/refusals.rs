//! Calls that must not work.

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::api::core::v1::Secret;
use kelvin_proto::SensorRequest;
use kube::Api;
use tonic::{Code, Status};

use crate::{
    cluster::Cluster,
    server::{Caller, Client},
};

/// No metadata and no client certificate.
pub async fn no_token(cluster: &Cluster) -> Result<String> {
    unauthenticated(Caller::new(cluster).await?.with_token(None)?).await
}

/// One that is in no file.
pub async fn wrong_token(cluster: &Cluster) -> Result<String> {
    unauthenticated(Caller::new(cluster).await?.with_token(Some("Bearer not-a-token"))?).await
}

/// The way in without a token.
pub async fn certificate(cluster: &Cluster) -> Result<String> {
    match call(&Caller::new(cluster).await?.with_token(None)?.with_certificate().await?).await {
        Ok(()) => Ok("accepted".to_owned()),
        Err(error) => Err(error.into()),
    }
}

/// The port speaks TLS only.
pub async fn plain_text(cluster: &Cluster) -> Result<String> {
    // HTTP/2 begins without an answer of the server: this says that the port is reached.
    let client = Caller::new(cluster).await?.in_plain_text().client().await.context("connecting")?;
    match read(client).await {
        Ok(()) => bail!("the call succeeded, but should have been refused"),
        Err(status) => {
            // Which code tonic gives a connection's end depends on when its call learned of it. hyper's error is among
            // its causes in any case, and not among those of a server's status, a timeout or a failed connect.
            let ended = causes(&status)
                .filter_map(|cause| cause.downcast_ref::<hyper::Error>())
                .any(|error| !error.is_timeout());
            ensure!(ended, "the connection was not closed: {}", chain(&status));
            Ok("connection ended".to_owned())
        }
    }
}

/// Who trusts another CA than the cluster's does not talk to this server.
pub async fn other_ca(cluster: &Cluster) -> Result<String> {
    // The one of the Prometheus operator's webhook.
    let operators = Api::<Secret>::namespaced(cluster.client.clone(), "monitoring");
    let secret = operators.get("prometheus-kube-prometheus-root-cert").await?;
    let other = secret
        .data
        .and_then(|mut data| data.remove("ca.crt"))
        .context("Secret prometheus-kube-prometheus-root-cert has no ca.crt")?
        .0;
    match Caller::new(cluster).await?.with_ca(&other)?.channel().await {
        Ok(_) => bail!("a certificate of another CA was trusted"),
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

fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    causes(error).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// Returns an error and its causes.
fn causes<'a>(
    error: &'a (dyn std::error::Error + 'static),
) -> impl Iterator<Item = &'a (dyn std::error::Error + 'static)> {
    std::iter::successors(Some(error), |error| (*error).source())
}
