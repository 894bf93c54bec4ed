//! Several servers on Valkey: whatever happens to a pod or a node, nothing acknowledged is lost.

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

const WRITERS: usize = 4;
const MOVED: Duration = Duration::from_mins(3);
const VALKEY: &str = "valkey";

/// An error where there is only one server.
pub async fn several(cluster: &Cluster) -> Result<String> {
    ensure!(cluster.store == Store::Valkey, "readings are in {}: make up STORE=valkey first", cluster.store);
    let mut nodes: BTreeMap<String, u32> = BTreeMap::new();
    for pod in cluster.servers().await? {
        *nodes.entry(node(&pod)).or_default() += 1;
    }
    ensure!(nodes.len() > 1, "all servers are on one node: {nodes:?}");
    Ok(format!("{nodes:?}"))
}

/// New pods for old, without a call that fails.
pub async fn rolling_update(cluster: &Cluster) -> Result<String> {
    let ledger = Ledger::begin(&Caller::new(cluster).await?, WRITERS).await?;
    let before = names(cluster.servers().await?);
    // Names of pods are never used again.
    let restarted = json!({"kelvin-e2e/restarted": before.join("-")});
    patch(cluster, json!({"spec": {"template": {"metadata": {"annotations": restarted}}}})).await?;
    poll::until(MOVED, async || {
        let now = names(cluster.servers().await?);
        ensure!(now.iter().all(|name| !before.contains(name)), "old pods are left: {now:?}");
        settled(cluster, before.len()).await
    })
    .await?;
    no_failed_calls(&ledger.close().await?)
}

/// To one server and back, without a call that fails.
pub async fn down_and_up(cluster: &Cluster) -> Result<String> {
    let ledger = Ledger::begin(&Caller::new(cluster).await?, WRITERS).await?;
    let before = cluster.servers().await?.len();
    for replicas in [1, before] {
        patch(cluster, json!({"spec": {"replicas": replicas}})).await?;
        poll::until(MOVED, async || settled(cluster, replicas).await).await?;
    }
    no_failed_calls(&ledger.close().await?)
}

/// The node of a server, but not Valkey's.
pub async fn drain(cluster: &Cluster) -> Result<String> {
    let store: Vec<_> = cluster.pods(VALKEY, "").await?.iter().map(node).collect();
    let servers = cluster.servers().await?;
    let Some(node) = servers.iter().map(node).find(|node| !store.contains(node)) else {
        bail!("every server is on Valkey's node");
    };
    let ledger = Ledger::begin(&Caller::new(cluster).await?, WRITERS).await?;
    let kubectl = |arguments: &[&str]| {
        let mut command = Command::new("kubectl");
        command.args(["--context", &cluster.name]).args(arguments).arg(&node);
        output(command)
    };
    let component = "--pod-selector=app.kubernetes.io/component=server";
    let drained =
        kubectl(&["drain", "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=2m", component]).await;
    let moved = poll::until(MOVED, async || settled(cluster, servers.len()).await).await;
    kubectl(&["uncordon"]).await?;
    drained.and(moved.map(|()| String::new()))?;
    Ok(format!("{node}: {}", no_failed_calls(&ledger.close().await?)?))
}

/// It comes back with its file. Calls fail meanwhile, and say so.
pub async fn store_deleted(cluster: &Cluster) -> Result<String> {
    let ledger = Ledger::begin(&Caller::new(cluster).await?, WRITERS).await?;
    let before = names(cluster.pods(VALKEY, "").await?);
    for name in &before {
        cluster.pod_api(VALKEY).delete(name, &DeleteParams::default()).await?;
    }
    poll::until(MOVED, async || {
        let now = cluster.pods(VALKEY, "").await?;
        ensure!(!now.is_empty() && now.iter().all(is_ready), "Valkey is not ready");
        ensure!(names(now).iter().all(|name| !before.contains(name)), "Valkey's old pod is still there");
        Caller::new(cluster).await?.client().await?.list_sensors(ListSensorsRequest::default()).await?;
        Ok(())
    })
    .await?;
    let outcome = ledger.close().await?;
    ensure!(
        outcome.lost.is_empty(),
        "{} of {} acknowledged readings are lost",
        outcome.lost.len(),
        outcome.acknowledged
    );
    let failed: u32 = outcome.failures.values().sum();
    Ok(format!("{} acknowledged, none lost, {failed} calls failed meanwhile", outcome.acknowledged))
}

/// More servers under load, and fewer after it, by the chart's own autoscaler, without a call that fails.
pub async fn autoscaling(cluster: &Cluster) -> Result<String> {
    const SETTINGS: &str = r#"server.autoscaling={"enabled":true,"minReplicas":2,"maxReplicas":4,"averageCpu":"30m","scaleDownSeconds":15}"#;
    let before = cluster.servers().await?.len();
    helm(
        cluster,
        &["upgrade", &cluster.release, "charts/kelvin", "--reuse-values", "--wait", "--set-json", SETTINGS],
    )
    .await?;
    poll::until(MOVED, async || wanted(cluster, |replicas| replicas == 2).await).await?;
    let ledger = Ledger::begin(&Caller::new(cluster).await?, WRITERS).await?;
    let load = load(cluster).await?;
    let up = poll::until(MOVED, async || wanted(cluster, |replicas| replicas > 2).await).await;
    let rate = calls_per_second(load).await;
    let down = poll::until(MOVED, async || wanted(cluster, |replicas| replicas == 2).await).await;
    let gone = poll::until(MOVED, async || settled(cluster, 2).await).await;
    let kept = ledger.close().await;
    // Not by helm, which would quarrel with the autoscaler over the number.
    autoscalers(cluster).delete(&format!("{}-server", cluster.release), &DeleteParams::default()).await?;
    patch(cluster, json!({"spec": {"replicas": before}})).await?;
    let (up, rate, down) = (up?, rate?, down?);
    gone?;
    Ok(format!("2 servers, {up} under {rate:.0} calls/s, {down} after it; {}", no_failed_calls(&kept?)?))
}

/// `kelvin load` in the cluster, as one of its clients. With a fifth of a core it leaves the rest to the servers.
async fn load(cluster: &Cluster) -> Result<Task> {
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
    // Readable by the group alone: octal 440.
    let secret = json!({"secretName": format!("{release}-check-tls"), "defaultMode": 0o440});
    Task::start(cluster, true, container, json!([{"name": "tls", "secret": secret}])).await
}

/// What the load says at its end, behind a line for each second.
async fn calls_per_second(load: Task) -> Result<f64> {
    let (succeeded, text) = load.end(MOVED).await?;
    ensure!(succeeded, "kelvin load: {text}");
    let report: Value = serde_json::from_str(text.find('{').map_or("", |start| &text[start..]))?;
    report["rpc"]["unary"]["calls_per_second"].as_f64().with_context(|| format!("kelvin load: {report}"))
}

/// How many servers the autoscaler wants, once it has measured.
async fn wanted(cluster: &Cluster, enough: impl Fn(i32) -> bool) -> Result<i32> {
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

fn no_failed_calls(outcome: &Outcome) -> Result<String> {
    outcome.verify()?;
    Ok(format!("{} acknowledged, none lost, no call failed", outcome.acknowledged))
}

/// As many servers as wanted, all ready, and none that goes.
async fn settled(cluster: &Cluster, replicas: usize) -> Result<()> {
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
