//! Dashboards and alerts: a query without data is most often one with a typing mistake.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Result, bail, ensure};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, api::ListParams};
use serde_json::Value;

use super::promql;
use crate::{cluster::Cluster, poll};

/// Rates need several samples, and what was just begun is exported within 15 s.
const WAIT: Duration = Duration::from_mins(2);
/// Parts of queries that have data only once something went wrong.
const NEED_A_FAULT: &[&str] = &[];

/// Every query of every panel and every variable.
pub async fn dashboards(cluster: &Cluster) -> Result<String> {
    let maps = Api::<ConfigMap>::namespaced(cluster.client.clone(), &cluster.namespace);
    let maps = maps.list(&ListParams::default().labels("grafana_dashboard=1")).await?.items;
    let files: Vec<_> = maps.into_iter().flat_map(|map| map.data.unwrap_or_default()).collect();
    ensure!(!files.is_empty(), "no dashboards in {}", cluster.namespace);
    let mut queries = BTreeSet::new();
    for (name, json) in &files {
        let dashboard: Value = serde_json::from_str(json)?;
        let found = promql::of_dashboard(&dashboard, &cluster.namespace);
        ensure!(!found.is_empty(), "{name} has no queries");
        queries.extend(found);
    }
    let found = have_data(cluster, queries).await?;
    Ok(format!("{} dashboards, {found}", files.len()))
}

/// Every alert's expression without its threshold; every rule as Prometheus sees it.
pub async fn alerts(cluster: &Cluster) -> Result<String> {
    let rules = poll::until(WAIT, async || {
        let rules = cluster.rules().await?;
        ensure!(!rules.is_empty(), "Prometheus has no rules of Kelvin's");
        for rule in &rules {
            ensure!(rule.health == "ok", "{} is {}: {}", rule.name, rule.health, rule.last_error);
            ensure!(rule.state != "firing", "{} is firing", rule.name);
        }
        Ok(rules)
    })
    .await?;
    let queries = rules.iter().flat_map(|rule| promql::operands(&rule.query)).map(str::to_owned).collect();
    Ok(format!("{} rules, {}", rules.len(), have_data(cluster, queries).await?))
}

async fn have_data(cluster: &Cluster, queries: BTreeSet<String>) -> Result<String> {
    let (faults, mut waiting): (Vec<_>, Vec<_>) =
        queries.into_iter().partition(|query| NEED_A_FAULT.iter().any(|part| query.contains(part)));
    for query in &faults {
        cluster.query(query).await?; // valid, at least
    }
    let all = waiting.len();
    poll::until(WAIT, async || {
        let mut empty = Vec::new();
        for query in &waiting {
            if cluster.query(query).await?.is_empty() {
                empty.push(query.clone());
            }
        }
        waiting = empty;
        match waiting.as_slice() {
            [] => Ok(()),
            [first, rest @ ..] => bail!("no data: {first} (and {} more)", rest.len()),
        }
    })
    .await?;
    Ok(format!("{all} queries, {} that need a fault", faults.len()))
}
