//! Sensors outside the cluster, by a node port that `helm upgrade` opens and `helm rollback` closes.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::{Node, Service};
use kube::{Api, ResourceExt as _, api::ListParams};
use tokio::{net::TcpStream, time::timeout};
use tonic::Code;

use super::{
    attempts::Attempts,
    calls::{helm, reading},
    restart::gone,
    telemetry,
};
use crate::{
    cluster::Cluster,
    poll,
    report::Outcome,
    server::{Caller, Route},
};

/// A name that only the external certificate has.
const NAME: &str = "sensors.example.org";

/// The time in which kube-proxy has to forward the port.
const OPEN: Duration = Duration::from_mins(1);

/// Every server is replaced twice, and no call of the clients fails. Between the two a caller outside is served at a
/// node's address by a certificate for its name, and is refused without its token.
pub async fn upgrade_and_rollback(cluster: &Cluster) -> Result<Outcome> {
    let attempts = Attempts::watch(cluster).await?;
    open(cluster).await?;
    let answer = call_from_outside(cluster).await;
    close(cluster).await?;
    telemetry::clients_progress(cluster).await?;
    attempts.all_succeeded(cluster).await?;
    answer
}

async fn open(cluster: &Cluster) -> Result<()> {
    let old = cluster.ready_server().await?;
    let values = format!(
        "server.externalService.enabled=true,server.externalService.type=NodePort,tls.external.dnsNames={{{NAME}}}"
    );
    let arguments = ["--reuse-values", "--wait", "--timeout", "3m", "--set", &values];
    helm(cluster, &[["upgrade", &cluster.release, "charts/kelvin"].as_slice(), &arguments].concat()).await?;
    gone(cluster, &old).await?;
    Ok(())
}

async fn close(cluster: &Cluster) -> Result<()> {
    let old = cluster.ready_server().await?;
    helm(cluster, &["rollback", &cluster.release, "--wait", "--timeout", "3m"]).await?;
    gone(cluster, &old).await?;
    let service = services(cluster).get_opt(&service_name(cluster)).await?;
    ensure!(service.is_none(), "the Service for external callers is still there");
    Ok(())
}

async fn call_from_outside(cluster: &Cluster) -> Result<Outcome> {
    let Some(node) = reachable_node(cluster).await? else { return Ok(Outcome::NotHere("node-network")) };
    let address = SocketAddr::new(node, node_port(cluster).await?);
    let route = Route::Address { address, name: NAME };
    let ca = cluster.secret("server-external-tls", "ca.crt").await?;
    let caller = Caller::new(cluster).await?.with_ca(&ca)?.by(route);

    // Both calls by one connection: while kube-proxy of a busy node lags behind, the next one may reach no server, or one
    // that drains.
    let channel = poll::until(OPEN, async || Ok(caller.channel().await?))
        .await
        .with_context(|| format!("a connection to {address}"))?;
    let reading = reading("outside", 21.5);
    caller.client_on(channel.clone()).send_single_reading(reading.clone()).await?;
    let refused = caller.with_token(None)?.client_on(channel).send_single_reading(reading).await;
    let code = refused.map_or_else(|status| status.code(), |_| Code::Ok);
    ensure!(code == Code::Unauthenticated, "a call without a token ended with {code:?}");
    Ok(Outcome::Found(format!("{NAME} at {address}, UNAUTHENTICATED without a token")))
}

/// A node's address, where this machine can connect to the kubelet on it; Docker Desktop hides the nodes of kind.
async fn reachable_node(cluster: &Cluster) -> Result<Option<std::net::IpAddr>> {
    const KUBELET: u16 = 10250;
    let nodes = Api::<Node>::all(cluster.client.clone()).list(&ListParams::default()).await?;
    let node = nodes.items.first().context("no node")?;
    let addresses = node.status.iter().flat_map(|status| status.addresses.iter().flatten());
    let internal = addresses.clone().find(|address| address.type_ == "InternalIP");
    let internal = internal.with_context(|| format!("{} has no InternalIP", node.name_any()))?;
    let address = internal.address.parse()?;
    let connected = timeout(Duration::from_secs(5), TcpStream::connect((address, KUBELET))).await;
    Ok(matches!(connected, Ok(Ok(_))).then_some(address))
}

async fn node_port(cluster: &Cluster) -> Result<u16> {
    let service = services(cluster).get(&service_name(cluster)).await?;
    let ports = service.spec.and_then(|spec| spec.ports).unwrap_or_default();
    let port = ports.iter().find_map(|port| port.node_port).context("the Service has no node port")?;
    Ok(port.try_into()?)
}

fn services(cluster: &Cluster) -> Api<Service> {
    Api::namespaced(cluster.client.clone(), &cluster.namespace)
}

fn service_name(cluster: &Cluster) -> String {
    format!("{}-server-external", cluster.release)
}
