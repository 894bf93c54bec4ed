//! Whether calls of the four clients failed while something happened.

use std::time::Duration;

use anyhow::{Result, ensure};
use kelvin_app::unix_now;
use kelvin_proto::CallType;

use crate::{cluster::Cluster, poll, prometheus::Counters};

/// Metrics go out every 15 s.
const EXPORT: Duration = Duration::from_mins(1);

/// Attempts that failed, whatever became of the call after a retry. CANCELLED does not count: it is a call that the client
/// itself dropped, as it does when its pod is replaced; a broken connection is UNAVAILABLE.
pub struct Attempts {
    failed: Counters,
}

impl Attempts {
    /// Those from now on. Clients that have just been installed may have failures to report from before there was a
    /// server, so each has to export first.
    pub async fn watch(cluster: &Cluster) -> Result<Self> {
        exported(cluster, unix_now()).await?;
        Ok(Self { failed: cluster.counters(series(cluster, "grpc_status!~\"OK|CANCELLED\"")).await? })
    }

    /// An error if one has failed until now.
    pub async fn all_succeeded(self, cluster: &Cluster) -> Result<()> {
        exported(cluster, unix_now()).await?;
        let failed = self.failed.total_growth(cluster).await?;
        ensure!(failed < 0.5, "{failed} calls of the clients failed");
        Ok(())
    }
}

/// Waits until every client has sent its metrics of that time, in Unix seconds.
async fn exported(cluster: &Cluster, time: i64) -> Result<()> {
    let reported = format!("max by (service_name) (timestamp({})) > {time}", series(cluster, ""));
    poll::until(EXPORT, async || {
        let (clients, all) = (cluster.query(&reported).await?.len(), CallType::ALL.len());
        ensure!(clients >= all, "only {clients} of {all} clients have sent their metrics");
        Ok(())
    })
    .await
}

fn series(cluster: &Cluster, labels: &str) -> String {
    let (namespace, release) = (&cluster.namespace, &cluster.release);
    format!(
        "grpc_client_attempt_duration_seconds_count{{k8s_namespace_name=\"{namespace}\",service_name=~\"{release}-client.*\",{labels}}}"
    )
}
