//! A server goes while clients run.

use std::time::{Duration, SystemTime};

use anyhow::{Result, bail, ensure};
use kube::ResourceExt as _;

use super::telemetry;
use crate::{
    cluster::{Cluster, Store},
    ledger::Ledger,
    poll,
    server::Caller,
};

/// A drain, and the start of another pod.
const REPLACED: Duration = Duration::from_mins(2);

/// Its pod is deleted: the clients go on with the next one. Of what was acknowledged, memory may lose what the old pod
/// held, Valkey nothing.
pub async fn server(cluster: &Cluster) -> Result<String> {
    let ledger = Ledger::begin(&Caller::new(cluster).await?, 2).await?;
    telemetry::clients_progress(cluster).await?;
    let victim = cluster.ready_server().await?;
    cluster.delete_pod(&victim).await?;
    poll::until(REPLACED, async || {
        ensure!(
            cluster.servers().await?.iter().all(|pod| pod.name_any() != victim),
            "{victim} is still there"
        );
        cluster.ready_server().await
    })
    .await?;
    let replaced = SystemTime::now();
    telemetry::clients_progress(cluster).await?;
    let outcome = ledger.close().await?;
    let lost_since = outcome.lost.iter().filter(|at| **at > replaced).count();
    match cluster.store {
        Store::Valkey => {
            ensure!(outcome.lost.is_empty(), "{} acknowledged readings are lost", outcome.lost.len());
        }
        Store::Memory if lost_since > 0 => {
            bail!("{lost_since} readings are lost that the new server acknowledged")
        }
        Store::Memory => {}
    }
    let failed: u32 = outcome.failures.values().sum();
    let (acknowledged, lost) = (outcome.acknowledged, outcome.lost.len());
    Ok(format!("{acknowledged} acknowledged, {lost} gone with the old pod, {failed} calls failed meanwhile"))
}
