//! Dashboards and alerts: a query without data is most often one with a typing mistake.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, api::ListParams};
use serde_json::Value;

use super::promql;
use crate::{
    cluster::{Cluster, Store},
    poll,
};

/// Rates need several samples, and what was just begun is exported within 15 s.
const WAIT: Duration = Duration::from_mins(2);
/// Parts of queries that have data only once a client's call failed. What is Kelvin's own is counted from 0 on.
const NEED_A_FAULT: &[&str] = &["grpc_status!=\"OK\""];
/// Parts of queries that have data only with readings in Valkey.
const NEED_VALKEY: &[&str] = &["db_client_operation_duration", "kelvin_store_up"];

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
        }
        Ok(rules)
    })
    .await?;
    let queries = rules.iter().flat_map(|rule| promql::operands(&rule.query)).map(str::to_owned).collect();
    // Not an error: an earlier check may have broken something on purpose.
    let firing = rules.iter().filter(|rule| rule.state == "firing").count();
    Ok(format!("{} rules, {firing} firing, {}", rules.len(), have_data(cluster, queries).await?))
}

async fn have_data(cluster: &Cluster, queries: BTreeSet<String>) -> Result<String> {
    let excused = |query: &String| {
        let has = |parts: &[&str]| parts.iter().any(|part| query.contains(part));
        has(NEED_A_FAULT) || (cluster.store == Store::Memory && has(NEED_VALKEY))
    };
    let (excused, mut waiting): (Vec<_>, Vec<_>) = queries.into_iter().partition(excused);
    for query in &excused {
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
        ensure!(
            waiting.is_empty(),
            "no data from {} of {all} queries:\n  {}",
            waiting.len(),
            waiting.join("\n  ")
        );
        Ok(())
    })
    .await?;
    Ok(format!("{all} queries have data; {} more need a fault or Valkey to have any", excused.len()))
}
