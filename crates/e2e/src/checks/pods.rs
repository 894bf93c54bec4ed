//! Checks of pods: readiness, Pod Security and warning events.

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

/// Checks that the pods of the release and of the components that it depends on are ready.
pub async fn ready(cluster: &Cluster) -> Result<String> {
    let mut namespaces = vec![cluster.namespace.as_str(), "cert-manager", "monitoring", "observability"];
    if cluster.store == Store::Valkey {
        namespaces.push("valkey");
    }
    poll::until(Duration::from_mins(1), async || {
        let (mut count, mut restarted) = (0, 0);
        for namespace in &namespaces {
            // Without the pod of an earlier `helm test`, which remains even if the test failed.
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

/// Checks that the API server rejects a privileged pod, instead of trusting the namespace's label.
pub async fn privileged_pod_is_rejected(cluster: &Cluster) -> Result<String> {
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

/// Checks that the release's namespace has no warning events, except those that cannot be avoided.
pub async fn no_warnings(cluster: &Cluster) -> Result<String> {
    let mut expected = 0;
    for event in cluster.warnings().await? {
        let (reason, message) = (event.reason.unwrap_or_default(), event.message.unwrap_or_default());
        match reason.as_str() {
            // cert-manager's cache lags behind a request that it has just made; it retries.
            "RequestFailed" if message.contains("already exists") => expected += 1,
            // The kubelet of a busy node has not received the Secret yet.
            "FailedMount" if message.contains("failed to sync secret cache") => expected += 1,
            // A pod starts at the same time as its certificate is requested; a check also deletes certificates to renew them.
            "FailedMount" if is_certificate_missing(&message, &cluster.release) => expected += 1,
            // A draining server fails its readiness probe; a server on a slow node fails its first startup probes.
            "Unhealthy" if message.starts_with("Readiness") || message.starts_with("Startup") => {
                expected += 1;
            }
            _ => bail!("{}: {reason}: {message}", event.involved_object.name.unwrap_or_default()),
        }
    }
    Ok(format!("{expected} expected events about certificates, mounts and probes"))
}

/// Returns whether a kubelet did not find a Secret that cert-manager creates for the release.
///
/// The kubelet retries; [`ready`] fails if the Secret is never created.
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
