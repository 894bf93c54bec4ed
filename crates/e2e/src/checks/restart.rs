//! A server goes while clients run.

use std::time::{Duration, SystemTime};

use anyhow::{Result, bail, ensure};
use kube::ResourceExt as _;
use tokio::process::Command;

use super::{attempts::Attempts, calls::output, telemetry};
use crate::{
    cluster::{Cluster, Store},
    ledger::Ledger,
    poll,
    server::Caller,
};

/// A drain, and the start of another pod.
const REPLACED: Duration = Duration::from_mins(2);

/// While a command of the caller's runs, every call succeeds and, on Valkey, nothing acknowledged is lost.
pub async fn during(cluster: &Cluster, command: &str) -> Result<String> {
    let attempts = Attempts::watch(cluster).await?;
    let ledger = Ledger::begin(&Caller::new(cluster).await?, 4).await?;
    let mut shell = Command::new("bash");
    shell.args(["-c", command]);
    let done = output(shell).await;
    let outcome = ledger.close().await;
    done?;
    let mut outcome = outcome?;
    let lost = outcome.lost.len();
    if cluster.store == Store::Memory {
        outcome.lost.clear();
    }
    outcome.verify()?;
    telemetry::clients_progress(cluster).await?;
    attempts.all_succeeded(cluster).await?;
    Ok(format!("{} acknowledged, {lost} lost, no call failed", outcome.acknowledged))
}

/// Its pod is deleted: the clients go on with the next one. Of what was acknowledged, memory may lose what the old pod
/// held, Valkey nothing.
pub async fn server(cluster: &Cluster) -> Result<String> {
    let ledger = Ledger::begin(&Caller::new(cluster).await?, 2).await?;
    telemetry::clients_progress(cluster).await?;
    let victim = cluster.ready_server().await?;
    cluster.delete_pod(&victim).await?;
    gone(cluster, &victim).await?;
    let replaced = SystemTime::now();
    telemetry::clients_progress(cluster).await?;
    let outcome = ledger.close().await?;
    let lost_since = outcome.lost.iter().filter(|at| **at > replaced).count();
    match cluster.store {
        Store::Valkey => {
            ensure!(outcome.lost.is_empty(), "{} acknowledged readings are lost", outcome.lost.len());
        }
        Store::Memory if lost_since > 0 => {
            bail!("{lost_since} readings that the new server acknowledged are lost")
        }
        Store::Memory => {}
    }
    let failed: u32 = outcome.failures.values().sum();
    let (acknowledged, lost) = (outcome.acknowledged, outcome.lost.len());
    Ok(format!("{acknowledged} acknowledged, {lost} gone with the old pod, {failed} calls failed meanwhile"))
}

/// Waits until a server's pod is no more and another one is ready.
pub(super) async fn gone(cluster: &Cluster, pod: &str) -> Result<String> {
    poll::until(REPLACED, async || {
        let servers = cluster.servers().await?;
        ensure!(servers.iter().all(|server| server.name_any() != pod), "{pod} is still there");
        cluster.ready_server().await
    })
    .await
}
