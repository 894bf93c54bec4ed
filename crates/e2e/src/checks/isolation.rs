//! Network policies: a pod of the same namespace reaches the server only with the labels of a client.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    ResourceExt as _,
    api::{DeleteParams, PostParams},
};
use serde_json::{Value, json};

use crate::{
    cluster::{Cluster, GRPC_PORT},
    poll,
};

const IMAGE: &str = "busybox:1.35";

/// The pod with a client's labels shows that it is the policy that stops the other.
pub async fn stranger(cluster: &Cluster) -> Result<String> {
    let client = json!({
        "app.kubernetes.io/name": "kelvin",
        "app.kubernetes.io/instance": cluster.release,
        "app.kubernetes.io/component": "check",
    });
    ensure!(
        reaches(cluster, "e2e-client", client).await?,
        "a pod with a client's labels does not reach the server"
    );
    ensure!(!reaches(cluster, "e2e-stranger", json!({})).await?, "a pod without labels reaches the server");
    Ok("only with a client's labels".to_owned())
}

async fn reaches(cluster: &Cluster, name: &str, labels: Value) -> Result<bool> {
    let pods = cluster.pod_api(&cluster.namespace);
    let server = format!("{}-server", cluster.release);
    // A connection that is made is ended by the server: what was sent is no TLS.
    let script = format!("echo . | nc -w 5 {server} {GRPC_PORT} >/dev/null");
    let pod: Pod = serde_json::from_value(json!({
        "metadata": {"generateName": format!("{name}-"), "labels": labels},
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": false,
            "terminationGracePeriodSeconds": 0,
            "securityContext": {"runAsNonRoot": true, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{
                "name": "nc", "image": IMAGE, "command": ["sh", "-c", script],
                "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
            }],
        },
    }))?;
    let name = pods.create(&PostParams::default(), &pod).await?.name_any();
    let ended = poll::until(Duration::from_mins(1), async || {
        let status = pods.get(&name).await?.status.context("no status")?;
        match status.phase.as_deref() {
            Some("Succeeded") => Ok(true),
            Some("Failed") => Ok(false),
            phase => bail!("{name} is {phase:?}"),
        }
    })
    .await;
    pods.delete(&name, &DeleteParams::default()).await?;
    ended
}
