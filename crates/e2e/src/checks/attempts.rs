//! Failed attempts of the four clients while a check disturbs the cluster.

use std::time::Duration;

use anyhow::{Result, ensure};
use kelvin_app::unix_now;
use kelvin_proto::CallType;

use crate::{cluster::Cluster, poll, prometheus::Counters};

/// Maximum time until clients have exported their metrics, which they do every 15 s.
const EXPORT_LIMIT: Duration = Duration::from_mins(1);

/// Counts failed attempts, whether or not a retry of the call succeeded.
///
/// CANCELLED does not count: the client itself dropped the call, for example because its pod is being replaced. A broken
/// connection is UNAVAILABLE.
pub struct Attempts {
    failed: Counters,
}

impl Attempts {
    /// Starts counting.
    ///
    /// It first waits until each client has exported its metrics: clients that have just been installed may not have
    /// reported failures yet from the time before the server was ready.
    pub async fn start(cluster: &Cluster) -> Result<Self> {
        wait_until_exported(cluster, unix_now()).await?;
        Ok(Self { failed: cluster.counters(series(cluster, "grpc_status!~\"OK|CANCELLED\"")).await? })
    }

    /// Checks that no attempt has failed since the start.
    pub async fn all_succeeded(self, cluster: &Cluster) -> Result<()> {
        wait_until_exported(cluster, unix_now()).await?;
        let failed = self.failed.total_growth(cluster).await?;
        ensure!(failed < 0.5, "{failed} attempts of the clients failed");
        Ok(())
    }
}

/// Waits until every client has exported metrics later than `time` (Unix seconds).
async fn wait_until_exported(cluster: &Cluster, time: i64) -> Result<()> {
    let reported = format!("max by (service_name) (timestamp({})) > {time}", series(cluster, ""));
    poll::until(EXPORT_LIMIT, async || {
        let (clients, all) = (cluster.query(&reported).await?.len(), CallType::ALL.len());
        ensure!(clients >= all, "only {clients} of {all} clients have exported their metrics");
        Ok(())
    })
    .await
}

/// Returns a selector for the clients' attempts.
fn series(cluster: &Cluster, labels: &str) -> String {
    let (namespace, release) = (&cluster.namespace, &cluster.release);
    format!(
        "grpc_client_attempt_duration_seconds_count{{k8s_namespace_name=\"{namespace}\",service_name=~\"{release}-client.*\",{labels}}}"
    )
}
