//! Queries of dashboards and alerts: one without data is most likely misspelled.

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

/// Maximum time until queries have data: rates need several samples, and metrics are exported every 15 s.
const DATA_LIMIT: Duration = Duration::from_mins(2);
/// Parts of queries that have data only after a client's call has failed. Kelvin's own counters start at 0.
const NEED_FAILED_CALL: &[&str] = &["grpc_status!=\"OK\""];
/// Parts of queries that have data only with the Valkey store.
const NEED_VALKEY: &[&str] = &["db_client_operation_duration", "kelvin_store_up"];

/// Checks that the queries of all panels and variables return data.
pub async fn dashboards_have_data(cluster: &Cluster) -> Result<String> {
    let maps = Api::<ConfigMap>::namespaced(cluster.client.clone(), &cluster.namespace);
    let maps = maps.list(&ListParams::default().labels("grafana_dashboard=1")).await?.items;
    let files: Vec<_> = maps.into_iter().flat_map(|map| map.data.unwrap_or_default()).collect();
    ensure!(!files.is_empty(), "no dashboards in {}", cluster.namespace);
    let mut queries = BTreeSet::new();
    for (name, json) in &files {
        let dashboard: Value = serde_json::from_str(json)?;
        let found = promql::dashboard_queries(&dashboard, &cluster.namespace);
        ensure!(!found.is_empty(), "{name} has no queries");
        queries.extend(found);
    }
    let found = check_data(cluster, queries).await?;
    Ok(format!("{} dashboards, {found}", files.len()))
}

/// Checks that Prometheus evaluates every rule, and that the expressions without their thresholds return data.
pub async fn alerts_have_data(cluster: &Cluster) -> Result<String> {
    let rules = poll::until(DATA_LIMIT, async || {
        let rules = cluster.rules().await?;
        ensure!(!rules.is_empty(), "Prometheus has no rules of the release");
        for rule in &rules {
            ensure!(rule.health == "ok", "{} is {}: {}", rule.name, rule.health, rule.last_error);
        }
        Ok(rules)
    })
    .await?;
    let queries = rules.iter().flat_map(|rule| promql::operands(&rule.query)).map(str::to_owned).collect();
    // Not an error: earlier checks disturb the cluster on purpose.
    let firing = rules.iter().filter(|rule| rule.state == "firing").count();
    Ok(format!("{} rules, {firing} firing, {}", rules.len(), check_data(cluster, queries).await?))
}

/// Checks that queries return data; of those that need a fault or Valkey, only that they are valid.
async fn check_data(cluster: &Cluster, queries: BTreeSet<String>) -> Result<String> {
    let excused = |query: &String| {
        let has = |parts: &[&str]| parts.iter().any(|part| query.contains(part));
        has(NEED_FAILED_CALL) || (cluster.store == Store::Memory && has(NEED_VALKEY))
    };
    let (excused, mut waiting): (Vec<_>, Vec<_>) = queries.into_iter().partition(excused);
    for query in &excused {
        cluster.query(query).await?;
    }
    let all = waiting.len();
    poll::until(DATA_LIMIT, async || {
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
    Ok(format!("{all} queries have data; {} more need a fault or Valkey", excused.len()))
}
