//! Pods that run one command for a check.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, LogParams, PostParams},
};
use serde_json::{Value, json};

use crate::{cluster::Cluster, poll};

/// A pod that complies with the `restricted` Pod Security Standard of the release's namespace.
pub struct Task {
    pods: Api<Pod>,
    name: String,
}

impl Task {
    /// Creates the pod. If `client` is true, it has the labels with which the network policies admit clients.
    pub async fn start(
        cluster: &Cluster,
        client: bool,
        mut container: Value,
        volumes: Value,
    ) -> Result<Self> {
        let labels = if client {
            json!({
                "app.kubernetes.io/name": "kelvin",
                "app.kubernetes.io/instance": cluster.release,
                "app.kubernetes.io/component": "check",
            })
        } else {
            json!({})
        };
        container["securityContext"] =
            json!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}});
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"generateName": format!("e2e-{}-", container["name"].as_str().unwrap_or_default()), "labels": labels},
            "spec": {
                "restartPolicy": "Never",
                "automountServiceAccountToken": false,
                "terminationGracePeriodSeconds": 0,
                "securityContext": {
                    "runAsNonRoot": true, "runAsUser": 65532, "fsGroup": 65532,
                    "seccompProfile": {"type": "RuntimeDefault"},
                },
                "containers": [container],
                "volumes": volumes,
            },
        }))?;
        let pods = cluster.pod_api(&cluster.namespace);
        let name = pods.create(&PostParams::default(), &pod).await?.name_any();
        Ok(Self { pods, name })
    }

    /// Waits until the pod has ended, deletes it, and returns whether it succeeded and its log.
    pub async fn wait(self, limit: Duration) -> Result<(bool, String)> {
        let Self { pods, name } = &self;
        let ended = poll::until(limit, async || {
            let status = pods.get(name).await?.status.context("the check's pod has no status")?;
            match status.phase.as_deref() {
                Some("Succeeded") => Ok(true),
                Some("Failed") => Ok(false),
                phase => bail!("{name} is {phase:?}"),
            }
        })
        .await;
        let text = pods.logs(name, &LogParams::default()).await;
        pods.delete(name, &DeleteParams::default()).await?;
        Ok((ended?, text?))
    }
}
