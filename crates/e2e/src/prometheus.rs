//! Client of Prometheus' HTTP API.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use kelvin_app::unix_now;
use serde::{Deserialize, de::DeserializeOwned};

use crate::cluster::Cluster;

const NAMESPACE: &str = "monitoring";
const SERVICE: &str = "prometheus-kube-prometheus-prometheus:9090";

/// One series in the result of an instant query.
#[derive(Debug, Deserialize)]
pub struct Sample {
    /// Labels of the series.
    pub metric: BTreeMap<String, String>,
    value: (f64, String),
}

/// A snapshot of counters by their labels.
#[derive(Debug)]
pub struct Counters {
    promql: String,
    values: BTreeMap<BTreeMap<String, String>, f64>,
}

/// A rule as Prometheus has loaded it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rule {
    /// Name of the alert or of the recorded series.
    pub name: String,
    /// Expression in `PromQL`.
    pub query: String,
    /// Health: `ok`, `err` or `unknown`.
    pub health: String,
    /// Error of the last evaluation, if the health is not `ok`.
    #[serde(default)]
    pub last_error: String,
    /// State of an alert: `inactive`, `pending` or `firing`.
    #[serde(default)]
    pub state: String,
}

impl Cluster {
    /// Runs an instant query whose result is a vector.
    pub async fn query(&self, promql: &str) -> Result<Vec<Sample>> {
        #[derive(Deserialize)]
        struct Vector {
            result: Vec<Sample>,
        }
        let vector: Vector = self.prometheus("query", &[("query", promql)]).await?;
        Ok(vector.result)
    }

    /// Takes a snapshot of the counters that `promql` selects.
    pub async fn counters(&self, promql: String) -> Result<Counters> {
        let samples = self.query(&promql).await?;
        let values = samples.iter().map(|sample| (sample.metric.clone(), sample.value())).collect();
        Ok(Counters { promql, values })
    }

    /// Returns the trace IDs of the exemplars of the last ten minutes, newest first.
    pub async fn exemplars(&self, promql: &str) -> Result<Vec<String>> {
        exemplar_ids(self.api(&exemplar_query(promql)).await?)
    }

    /// Returns the rules of the release.
    pub async fn rules(&self) -> Result<Vec<Rule>> {
        #[derive(Deserialize)]
        struct Groups {
            groups: Vec<Group>,
        }
        #[derive(Deserialize)]
        struct Group {
            file: String,
            rules: Vec<Rule>,
        }
        let groups: Groups = self.prometheus("rules", &[]).await?;
        let ours = format!("/{}-{}", self.namespace, self.release);
        let groups = groups.groups.into_iter().filter(|group| group.file.contains(&ours));
        Ok(groups.flat_map(|group| group.rules).collect())
    }

    /// Calls an endpoint below `/api/v1` and parses the `data` of the response.
    async fn prometheus<T: DeserializeOwned>(&self, call: &str, query: &[(&str, &str)]) -> Result<T> {
        self.api(&path(call, query)).await
    }

    async fn api<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        #[derive(Deserialize)]
        struct Answer<T> {
            data: Option<T>,
            error: Option<String>,
        }
        let answer: Answer<T> = self.get(NAMESPACE, SERVICE, path).await?;
        if let Some(error) = answer.error {
            bail!("Prometheus: {error}");
        }
        answer.data.context("the response of Prometheus has no data")
    }
}

/// Returns the path of a query for the exemplars of the last ten minutes.
#[must_use]
pub fn exemplar_query(promql: &str) -> String {
    let now = unix_now();
    let (start, end) = ((now - 600).to_string(), now.to_string());
    path("query_exemplars", &[("query", promql), ("start", &start), ("end", &end)])
}

/// Returns the trace IDs in the `data` of the response to an [`exemplar_query`], newest first.
pub fn exemplar_ids(data: serde_json::Value) -> Result<Vec<String>> {
    #[derive(Deserialize)]
    struct Series {
        exemplars: Vec<Exemplar>,
    }
    #[derive(Deserialize)]
    struct Exemplar {
        labels: BTreeMap<String, String>,
        timestamp: f64,
    }
    let series: Vec<Series> = serde_json::from_value(data)?;
    let mut exemplars: Vec<_> = series.into_iter().flat_map(|series| series.exemplars).collect();
    exemplars.sort_by(|a, b| b.timestamp.total_cmp(&a.timestamp));
    Ok(exemplars.into_iter().filter_map(|mut exemplar| exemplar.labels.remove("trace_id")).collect())
}

fn path(call: &str, query: &[(&str, &str)]) -> String {
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish();
    format!("/api/v1/{call}?{query}")
}

impl Counters {
    /// Returns the growth of the counters since the snapshot, summed by the value of `label`.
    ///
    /// The growth is computed per series: a `sum` in `PromQL` would shrink when Prometheus drops the series of a pod that
    /// was deleted some minutes ago.
    pub async fn growth_by(&self, cluster: &Cluster, label: &str) -> Result<BTreeMap<String, f64>> {
        let mut growth = BTreeMap::new();
        for sample in cluster.query(&self.promql).await? {
            let before = self.values.get(&sample.metric).copied().unwrap_or_default();
            let of = sample.metric.get(label).cloned().unwrap_or_default();
            *growth.entry(of).or_default() += sample.value() - before;
        }
        Ok(growth)
    }

    /// Returns the total growth of the counters since the snapshot.
    pub async fn total_growth(&self, cluster: &Cluster) -> Result<f64> {
        Ok(self.growth_by(cluster, "").await?.into_values().sum())
    }
}

impl Sample {
    /// Returns the value, or NaN if it is not a number.
    #[must_use]
    pub fn value(&self) -> f64 {
        self.value.1.parse().unwrap_or(f64::NAN)
    }
}
