//! Several servers on Valkey: no acknowledged reading is lost, whatever happens to a pod or a node.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::api::{apps::v1::Deployment, autoscaling::v2::HorizontalPodAutoscaler, core::v1::Pod};
use kelvin_proto::ListSensorsRequest;
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, Patch, PatchParams},
};
use serde_json::{Value, json};
use tokio::process::Command;

use super::calls::{helm, output};
use crate::{
    cluster::{Cluster, GRPC_PORT, Store, is_ready},
    ledger::{Ledger, Outcome},
    poll,
    server::Caller,
    task::Task,
};

/// Number of background writers.
const WRITERS: usize = 4;
/// Maximum time for each change to take effect.
const SETTLE_LIMIT: Duration = Duration::from_mins(3);
/// Namespace of Valkey.
const VALKEY: &str = "valkey";

/// Checks that the servers use Valkey and run on more than one node.
pub async fn servers_are_spread(cluster: &Cluster) -> Result<String> {
    ensure!(cluster.store == Store::Valkey, "readings are in {}: make up STORE=valkey first", cluster.store);
    let mut nodes: BTreeMap<String, u32> = BTreeMap::new();
    for pod in cluster.servers().await? {
        *nodes.entry(node(&pod)).or_default() += 1;
    }
    ensure!(nodes.len() > 1, "all servers are on one node: {nodes:?}");
    Ok(format!("{nodes:?}"))
}

/// Replaces all server pods and checks that no call fails.
pub async fn rolling_update(cluster: &Cluster) -> Result<String> {
    let ledger = Ledger::start(&Caller::new(cluster).await?, WRITERS).await?;
    let before = names(cluster.servers().await?);
    // Pod names are not reused, so this annotation always changes the pod template.
    let restarted = json!({"kelvin-e2e/restarted": before.join("-")});
    patch(cluster, json!({"spec": {"template": {"metadata": {"annotations": restarted}}}})).await?;
    poll::until(SETTLE_LIMIT, async || {
        let now = names(cluster.servers().await?);
        ensure!(now.iter().all(|name| !before.contains(name)), "old pods remain: {now:?}");
        check_settled(cluster, before.len()).await
    })
    .await?;
    no_failed_calls(&ledger.finish().await?)
}

/// Scales to one server and back, and checks that no call fails.
pub async fn scale_down_and_up(cluster: &Cluster) -> Result<String> {
    let ledger = Ledger::start(&Caller::new(cluster).await?, WRITERS).await?;
    let before = cluster.servers().await?.len();
    for replicas in [1, before] {
        patch(cluster, json!({"spec": {"replicas": replicas}})).await?;
        poll::until(SETTLE_LIMIT, async || check_settled(cluster, replicas).await).await?;
    }
    no_failed_calls(&ledger.finish().await?)
}

/// Drains a node that runs a server but not Valkey, and checks that no call fails.
pub async fn drain_node(cluster: &Cluster) -> Result<String> {
    let store: Vec<_> = cluster.pods(VALKEY, "").await?.iter().map(node).collect();
    let servers = cluster.servers().await?;
    let Some(node) = servers.iter().map(node).find(|node| !store.contains(node)) else {
        bail!("every server is on Valkey's node");
    };
    let ledger = Ledger::start(&Caller::new(cluster).await?, WRITERS).await?;
    let kubectl = |arguments: &[&str]| {
        let mut command = Command::new("kubectl");
        command.args(["--context", &cluster.name]).args(arguments).arg(&node);
        output(command)
    };
    let component = "--pod-selector=app.kubernetes.io/component=server";
    let drained =
        kubectl(&["drain", "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=2m", component]).await;
    let moved = poll::until(SETTLE_LIMIT, async || check_settled(cluster, servers.len()).await).await;
    kubectl(&["uncordon"]).await?;
    drained.and(moved.map(|()| String::new()))?;
    Ok(format!("{node}: {}", no_failed_calls(&ledger.finish().await?)?))
}

/// Deletes Valkey's pods and checks that no acknowledged reading is lost.
///
/// Valkey restarts with its persistent data. Until then calls may fail, but none may be acknowledged without being stored.
pub async fn delete_store(cluster: &Cluster) -> Result<String> {
    let ledger = Ledger::start(&Caller::new(cluster).await?, WRITERS).await?;
    let before = names(cluster.pods(VALKEY, "").await?);
    for name in &before {
        cluster.pod_api(VALKEY).delete(name, &DeleteParams::default()).await?;
    }
    poll::until(SETTLE_LIMIT, async || {
        let now = cluster.pods(VALKEY, "").await?;
        ensure!(!now.is_empty() && now.iter().all(is_ready), "Valkey is not ready");
        ensure!(names(now).iter().all(|name| !before.contains(name)), "Valkey's old pod is still there");
        Caller::new(cluster).await?.client().await?.list_sensors(ListSensorsRequest::default()).await?;
        Ok(())
    })
    .await?;
    let outcome = ledger.finish().await?;
    ensure!(
        outcome.lost.is_empty(),
        "{} of {} acknowledged readings are lost",
        outcome.lost.len(),
        outcome.acknowledged
    );
    let failed: u32 = outcome.failures.values().sum();
    Ok(format!("{} acknowledged, none lost, {failed} calls failed meanwhile", outcome.acknowledged))
}

/// Checks that the chart's autoscaler adds servers under load and removes them afterwards, and that no call fails.
pub async fn autoscaling(cluster: &Cluster) -> Result<String> {
    const SETTINGS: &str = r#"server.autoscaling={"enabled":true,"minReplicas":2,"maxReplicas":4,"averageCpu":"30m","scaleDownSeconds":15}"#;
    let before = cluster.servers().await?.len();
    helm(
        cluster,
        &["upgrade", &cluster.release, "charts/kelvin", "--reuse-values", "--wait", "--set-json", SETTINGS],
    )
    .await?;
    poll::until(SETTLE_LIMIT, async || desired_replicas(cluster, |replicas| replicas == 2).await).await?;
    let ledger = Ledger::start(&Caller::new(cluster).await?, WRITERS).await?;
    let load = start_load(cluster).await?;
    let up =
        poll::until(SETTLE_LIMIT, async || desired_replicas(cluster, |replicas| replicas > 2).await).await;
    let rate = calls_per_second(load).await;
    let down =
        poll::until(SETTLE_LIMIT, async || desired_replicas(cluster, |replicas| replicas == 2).await).await;
    let settled_again = poll::until(SETTLE_LIMIT, async || check_settled(cluster, 2).await).await;
    let outcome = ledger.finish().await;
    // Not with helm: the autoscaler would revert the number of replicas that helm sets.
    autoscalers(cluster).delete(&format!("{}-server", cluster.release), &DeleteParams::default()).await?;
    patch(cluster, json!({"spec": {"replicas": before}})).await?;
    let (up, rate, down) = (up?, rate?, down?);
    settled_again?;
    Ok(format!("2 servers, {up} under {rate:.0} calls/s, {down} after it; {}", no_failed_calls(&outcome?)?))
}

/// Starts `kelvin load` in the cluster as a client. It is limited to a fifth of a core, to leave CPU time to the servers.
async fn start_load(cluster: &Cluster) -> Result<Task> {
    let Cluster { release, .. } = cluster;
    let image = cluster.server_image().await?.replace("kelvin-server", "kelvin-cli");
    let address = format!("{release}-server:{GRPC_PORT}");
    let container = json!({
        "name": "load",
        "image": image,
        "args": [
            "load", "--address", address, "--ca", "/tls/ca.crt", "--cert", "/tls/tls.crt", "--key", "/tls/tls.key",
            "--connections", "8", "--duration", "60s", "--json",
        ],
        "resources": {"limits": {"cpu": "200m", "memory": "256Mi"}},
        "volumeMounts": [{"name": "tls", "mountPath": "/tls", "readOnly": true}],
    });
    // Readable by owner and group only.
    let secret = json!({"secretName": format!("{release}-check-tls"), "defaultMode": 0o440});
    Task::start(cluster, true, container, json!([{"name": "tls", "secret": secret}])).await
}

/// Returns the rate that `kelvin load` reports at its end, after one line per second.
async fn calls_per_second(load: Task) -> Result<f64> {
    let (succeeded, text) = load.wait(SETTLE_LIMIT).await?;
    ensure!(succeeded, "kelvin load: {text}");
    let report: Value = serde_json::from_str(text.find('{').map_or("", |start| &text[start..]))?;
    report["rpc"]["unary"]["calls_per_second"].as_f64().with_context(|| format!("kelvin load: {report}"))
}

/// Returns the autoscaler's desired replicas, or an error if it has no metrics yet or `enough` rejects the number.
async fn desired_replicas(cluster: &Cluster, enough: impl Fn(i32) -> bool) -> Result<i32> {
    let autoscaler = autoscalers(cluster).get_status(&format!("{}-server", cluster.release)).await?;
    let status = autoscaler.status.context("the autoscaler has no status")?;
    ensure!(
        status.current_metrics.is_some(),
        "the autoscaler has no metrics: is metrics-server installed and ready?"
    );
    let replicas = status.desired_replicas;
    ensure!(enough(replicas), "the autoscaler wants {replicas} servers");
    Ok(replicas)
}

fn autoscalers(cluster: &Cluster) -> Api<HorizontalPodAutoscaler> {
    Api::namespaced(cluster.client.clone(), &cluster.namespace)
}

/// Checks that no call failed and no acknowledged reading was lost, and describes the outcome.
fn no_failed_calls(outcome: &Outcome) -> Result<String> {
    outcome.verify()?;
    Ok(format!("{} acknowledged, none lost, no call failed", outcome.acknowledged))
}

/// Checks that there are exactly `replicas` servers, all ready and none terminating.
async fn check_settled(cluster: &Cluster, replicas: usize) -> Result<()> {
    let servers = cluster.servers().await?;
    let ready =
        servers.iter().filter(|pod| is_ready(pod) && pod.metadata.deletion_timestamp.is_none()).count();
    ensure!(ready == replicas && servers.len() == replicas, "{ready} of {} servers are ready", servers.len());
    Ok(())
}

async fn patch(cluster: &Cluster, patch: Value) -> Result<()> {
    let deployments = Api::<Deployment>::namespaced(cluster.client.clone(), &cluster.namespace);
    let name = format!("{}-server", cluster.release);
    deployments.patch(&name, &PatchParams::default(), &Patch::Merge(patch)).await?;
    Ok(())
}

fn names(pods: Vec<Pod>) -> Vec<String> {
    pods.into_iter().map(|pod| pod.name_any()).collect()
}

fn node(pod: &Pod) -> String {
    pod.spec.as_ref().and_then(|spec| spec.node_name.clone()).unwrap_or_default()
}
