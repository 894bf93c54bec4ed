//! Pods: ready, restricted, and nothing that Kubernetes warned of.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::{ResourceExt as _, api::PostParams};
use serde_json::json;

use crate::{
    cluster::{Cluster, Store, is_ready},
    poll,
    report::restarts,
};

/// Kelvin's pods and those of what it stands on.
pub async fn ready(cluster: &Cluster) -> Result<String> {
    let mut namespaces = vec![cluster.namespace.as_str(), "cert-manager", "monitoring", "observability"];
    if cluster.store == Store::Valkey {
        namespaces.push("valkey");
    }
    poll::until(Duration::from_mins(1), async || {
        let (mut count, mut restarted) = (0, 0);
        for namespace in &namespaces {
            // The pod of an earlier `helm test` stays, whatever became of it.
            for pod in cluster.pods(namespace, "app.kubernetes.io/component!=check").await? {
                let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
                ensure!(
                    is_ready(&pod) || phase == Some("Succeeded"),
                    "{namespace}/{} is not ready",
                    pod.name_any()
                );
                count += 1;
                restarted += restarts(&pod);
            }
        }
        Ok(format!("{count} pods, {restarted} restarts"))
    })
    .await
}

/// The namespace's label is believed only when the API server acts on it.
pub async fn restricted(cluster: &Cluster) -> Result<String> {
    let privileged: Pod = serde_json::from_value(json!({
        "metadata": {"name": "e2e-privileged"},
        "spec": {"containers": [{"name": "c", "image": "busybox:1.35", "securityContext": {"privileged": true}}]},
    }))?;
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    match cluster.pod_api(&cluster.namespace).create(&dry, &privileged).await {
        Ok(_) => bail!("{} admits a privileged pod", cluster.namespace),
        Err(kube::Error::Api(status)) if status.message.contains("violates PodSecurity \"restricted") => {
            Ok("rejected by the `restricted` policy".to_owned())
        }
        Err(error) => Err(error).context("rejected, but not by Pod Security"),
    }
}

/// Warnings of Kelvin's namespace, without those that are not ours to avoid.
pub async fn no_warnings(cluster: &Cluster) -> Result<String> {
    let mut passing = 0;
    for event in cluster.warnings().await? {
        let (reason, message) = (event.reason.unwrap_or_default(), event.message.unwrap_or_default());
        match reason.as_str() {
            // cert-manager's cache lags behind the request it has just made; it looks again.
            "RequestFailed" if message.contains("already exists") => passing += 1,
            // The kubelet of a busy node has not read the Secret yet.
            "FailedMount" if message.contains("failed to sync secret cache") => passing += 1,
            // A certificate is ordered by the same command that starts its pods, and renewed when a check deletes it.
            "FailedMount" if is_certificate_missing(&message, &cluster.release) => passing += 1,
            // A draining server fails its readiness probe, one on a slow node its first startup probes.
            "Unhealthy" if message.starts_with("Readiness") || message.starts_with("Startup") => passing += 1,
            _ => bail!("{}: {reason}: {message}", event.involved_object.name.unwrap_or_default()),
        }
    }
    Ok(format!("{passing} expected events about certificates, mounts and probes"))
}

/// Whether what a kubelet did not find is a Secret that cert-manager fills for the release. It looks again; a pod whose
/// Secret never comes is found by [`ready`].
fn is_certificate_missing(message: &str, release: &str) -> bool {
    let name = message.strip_suffix("-tls\" not found").and_then(|rest| rest.rsplit_once("secret \""));
    name.is_some_and(|(_, name)| name.starts_with(&format!("{release}-")))
}

#[cfg(test)]
mod tests {
    use super::is_certificate_missing;

    #[test]
    fn missing_certificate_of_the_release_is_expected() {
        let message =
            "MountVolume.SetUp failed for volume \"tls\" : secret \"kelvin-client-unary-tls\" not found";
        assert!(is_certificate_missing(message, "kelvin"));
        assert!(!is_certificate_missing(message, "other"));
        assert!(!is_certificate_missing(&message.replace("-tls\"", "-token\""), "kelvin"));
        assert!(!is_certificate_missing(&message.replace("not found", "is forbidden"), "kelvin"));
    }
}
