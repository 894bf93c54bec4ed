//! Certificates renewed under running calls. Deleting a Secret is what makes cert-manager issue anew at once.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Result, ensure};
use kube::api::DeleteParams;

use super::telemetry::KINDS;
use crate::{cluster::Cluster, ledger::Ledger, poll, server::Caller};

/// The kubelet brings a new Secret to its pods within about a minute and a half.
const DELIVERY: Duration = Duration::from_mins(4);
/// Metrics go out every 15 s.
const EXPORT: Duration = Duration::from_mins(1);

/// Server and clients take up new certificates, and no call fails: neither of the four clients nor of the ledger.
pub async fn unnoticed(cluster: &Cluster) -> Result<String> {
    let caller = Caller::new(cluster).await?;
    let (certificate, reloads) = (caller.server_certificate().await?, reloads(cluster).await?);
    let failed = failed_attempts(cluster).await?;
    let ledger = Ledger::begin(&caller, 1).await?;

    let secrets = KINDS.map(|kind| format!("{}-client-{kind}-tls", cluster.release));
    for secret in [format!("{}-server-tls", cluster.release)].iter().chain(&secrets) {
        cluster.secret_api().delete(secret, &DeleteParams::default()).await?;
    }
    poll::until(DELIVERY, async || {
        ensure!(caller.server_certificate().await? != certificate, "the server shows its old certificate");
        Ok(())
    })
    .await?;
    poll::until(DELIVERY, async || {
        let now = self::reloads(cluster).await?;
        for (service, before) in &reloads {
            ensure!(now.get(service) > Some(before), "{service} has not reloaded its certificate");
        }
        Ok(())
    })
    .await?;

    let outcome = ledger.close().await?;
    outcome.whole()?;
    exported(cluster, SystemTime::now()).await?;
    let failed = failed_attempts(cluster).await? - failed;
    ensure!(failed < 0.5, "{failed} calls of the clients failed");
    Ok(format!("{} calls of ours and all of the clients' succeeded", outcome.acknowledged))
}

/// How often each service took up changed files.
async fn reloads(cluster: &Cluster) -> Result<BTreeMap<String, f64>> {
    let query = format!(
        "sum by (service_name) (kelvin_reloads_total{{k8s_namespace_name=\"{}\"}})",
        cluster.namespace
    );
    let mut reloads: BTreeMap<_, _> =
        KINDS.map(|kind| (format!("{}-client-{kind}", cluster.release), 0.0)).into();
    reloads.insert(format!("{}-server", cluster.release), 0.0);
    for sample in cluster.query(&query).await? {
        if let Some(before) = sample.metric.get("service_name").and_then(|service| reloads.get_mut(service)) {
            *before = sample.value();
        }
    }
    Ok(reloads)
}

/// Of the four clients, whatever became of the call after a retry.
async fn failed_attempts(cluster: &Cluster) -> Result<f64> {
    cluster.total(&attempts(cluster, "grpc_status!=\"OK\"")).await
}

/// Waits until every client has sent its metrics of that time.
async fn exported(cluster: &Cluster, time: SystemTime) -> Result<()> {
    let time = time.duration_since(UNIX_EPOCH)?.as_secs();
    let reported = format!("max by (service_name) (timestamp({})) > {time}", attempts(cluster, ""));
    poll::until(EXPORT, async || {
        let clients = cluster.query(&reported).await?.len();
        ensure!(clients >= KINDS.len(), "{clients} clients have sent their metrics");
        Ok(())
    })
    .await
}

fn attempts(cluster: &Cluster, labels: &str) -> String {
    let (namespace, release) = (&cluster.namespace, &cluster.release);
    format!(
        "grpc_client_attempt_duration_seconds_count{{k8s_namespace_name=\"{namespace}\",service_name=~\"{release}-client.*\",{labels}}}"
    )
}
