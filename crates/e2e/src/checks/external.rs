//! Callers outside the cluster, through a node port that `helm upgrade` opens and `helm rollback` closes.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::{Node, Service};
use kube::{Api, ResourceExt as _, api::ListParams};
use tokio::{net::TcpStream, time::timeout};
use tonic::Code;

use super::{
    attempts::Attempts,
    calls::{helm, reading},
    restart::wait_until_replaced,
    telemetry,
};
use crate::{
    cluster::Cluster,
    poll,
    report::Outcome,
    server::{Caller, Route},
};

/// A DNS name that only the external certificate contains.
const DNS_NAME: &str = "sensors.example.org";

/// Maximum time until kube-proxy forwards the port.
const CONNECT_LIMIT: Duration = Duration::from_mins(1);

/// Checks that a caller outside the cluster can use a node port, and that no call of the clients fails meanwhile.
///
/// The upgrade and the rollback each replace every server. In between, the caller connects to a node's address, verifies
/// the external certificate, and is rejected without a token.
pub async fn upgrade_and_rollback(cluster: &Cluster) -> Result<Outcome> {
    let attempts = Attempts::start(cluster).await?;
    add_service(cluster).await?;
    let answer = call_from_outside(cluster).await;
    roll_back(cluster).await?;
    telemetry::clients_progress(cluster).await?;
    attempts.all_succeeded(cluster).await?;
    answer
}

/// Upgrades the release with a `NodePort` Service and an external certificate.
async fn add_service(cluster: &Cluster) -> Result<()> {
    let old = cluster.ready_server().await?;
    let values = format!(
        "server.externalService.enabled=true,server.externalService.type=NodePort,tls.external.dnsNames={{{DNS_NAME}}}"
    );
    let arguments = ["--reuse-values", "--wait", "--timeout", "3m", "--set", &values];
    helm(cluster, &[["upgrade", &cluster.release, "charts/kelvin"].as_slice(), &arguments].concat()).await?;
    wait_until_replaced(cluster, &old).await?;
    Ok(())
}

/// Rolls the release back and checks that the Service is deleted.
async fn roll_back(cluster: &Cluster) -> Result<()> {
    let old = cluster.ready_server().await?;
    helm(cluster, &["rollback", &cluster.release, "--wait", "--timeout", "3m"]).await?;
    wait_until_replaced(cluster, &old).await?;
    let service = services(cluster).get_opt(&service_name(cluster)).await?;
    ensure!(service.is_none(), "the Service for external callers is still there");
    Ok(())
}

/// Makes a call with a token and one without through the node port.
async fn call_from_outside(cluster: &Cluster) -> Result<Outcome> {
    let Some(node) = reachable_node(cluster).await? else { return Ok(Outcome::Unavailable("node-network")) };
    let address = SocketAddr::new(node, node_port(cluster).await?);
    let route = Route::Address { address, name: DNS_NAME };
    let ca = cluster.secret("server-external-tls", "ca.crt").await?;
    let caller = Caller::new(cluster).await?.with_ca(&ca)?.via(route);

    // Both calls use one connection: while kube-proxy on a busy node lags behind, a second connection may reach no server
    // or a draining one.
    let channel = poll::until(CONNECT_LIMIT, async || Ok(caller.channel().await?))
        .await
        .with_context(|| format!("cannot connect to {address}"))?;
    let reading = reading("outside", 21.5);
    caller.client_on(channel.clone()).send_single_reading(reading.clone()).await?;
    let refused = caller.with_token(None)?.client_on(channel).send_single_reading(reading).await;
    let code = refused.map_or_else(|status| status.code(), |_| Code::Ok);
    ensure!(code == Code::Unauthenticated, "a call without a token ended with {code:?}");
    Ok(Outcome::Passed(format!("{DNS_NAME} at {address}, UNAUTHENTICATED without a token")))
}

/// Returns a node's address, or `None` if this machine cannot connect to its kubelet.
///
/// Docker Desktop, for example, does not expose the nodes of kind.
async fn reachable_node(cluster: &Cluster) -> Result<Option<std::net::IpAddr>> {
    const KUBELET: u16 = 10250;
    let nodes = Api::<Node>::all(cluster.client.clone()).list(&ListParams::default()).await?;
    let node = nodes.items.first().context("the cluster has no nodes")?;
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
