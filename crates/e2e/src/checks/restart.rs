//! Replacement of servers while clients run.

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

/// Maximum time for the drain of a pod and the start of its replacement.
const REPLACEMENT_LIMIT: Duration = Duration::from_mins(2);

/// Checks that no call fails while a shell command runs, and with Valkey that no acknowledged reading is lost.
pub async fn no_call_fails_during(cluster: &Cluster, command: &str) -> Result<String> {
    let attempts = Attempts::start(cluster).await?;
    let ledger = Ledger::start(&Caller::new(cluster).await?, 4).await?;
    let mut shell = Command::new("bash");
    shell.args(["-c", command]);
    let done = output(shell).await;
    let outcome = ledger.finish().await;
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

/// Deletes a server pod and checks that the clients continue with its replacement.
///
/// With the memory store, readings that the old pod acknowledged may be lost; with Valkey none may.
pub async fn clients_recover_from_pod_deletion(cluster: &Cluster) -> Result<String> {
    let ledger = Ledger::start(&Caller::new(cluster).await?, 2).await?;
    telemetry::clients_progress(cluster).await?;
    let deleted = cluster.ready_server().await?;
    cluster.delete_pod(&deleted).await?;
    wait_until_replaced(cluster, &deleted).await?;
    let replaced = SystemTime::now();
    telemetry::clients_progress(cluster).await?;
    let outcome = ledger.finish().await?;
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
    Ok(format!("{acknowledged} acknowledged, {lost} lost with the old pod, {failed} calls failed meanwhile"))
}

/// Waits until a server pod is deleted and another one is ready; returns the name of that one.
pub(super) async fn wait_until_replaced(cluster: &Cluster, pod: &str) -> Result<String> {
    poll::until(REPLACEMENT_LIMIT, async || {
        let servers = cluster.servers().await?;
        ensure!(servers.iter().all(|server| server.name_any() != pod), "{pod} is still there");
        cluster.ready_server().await
    })
    .await
}
