//! Prometheus' HTTP API.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use kelvin_app::unix_now;
use serde::{Deserialize, de::DeserializeOwned};

use crate::cluster::Cluster;

const NAMESPACE: &str = "monitoring";
const SERVICE: &str = "prometheus-kube-prometheus-prometheus:9090";

/// One series of an instant query.
#[derive(Debug, Deserialize)]
pub struct Sample {
    /// Its labels.
    pub metric: BTreeMap<String, String>,
    value: (f64, String),
}

/// Counters at some moment, each by its labels.
#[derive(Debug)]
pub struct Counters {
    promql: String,
    values: BTreeMap<BTreeMap<String, String>, f64>,
}

/// A rule as Prometheus has loaded it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rule {
    /// Of the alert or the recorded series.
    pub name: String,
    /// `PromQL`.
    pub query: String,
    /// `ok`, `err` or `unknown`.
    pub health: String,
    /// Why it is not `ok`.
    #[serde(default)]
    pub last_error: String,
    /// `inactive`, `pending` or `firing`; of alerts.
    #[serde(default)]
    pub state: String,
}

impl Cluster {
    /// An instant query of a vector.
    pub async fn query(&self, promql: &str) -> Result<Vec<Sample>> {
        #[derive(Deserialize)]
        struct Vector {
            result: Vec<Sample>,
        }
        let vector: Vector = self.prometheus("query", &[("query", promql)]).await?;
        Ok(vector.result)
    }

    /// The counters of `promql` as they stand.
    pub async fn counters(&self, promql: String) -> Result<Counters> {
        let samples = self.query(&promql).await?;
        let values = samples.iter().map(|sample| (sample.metric.clone(), sample.value())).collect();
        Ok(Counters { promql, values })
    }

    /// Trace ids of the exemplars of the last ten minutes, the newest first.
    pub async fn exemplars(&self, promql: &str) -> Result<Vec<String>> {
        exemplar_ids(self.api(&exemplar_query(promql)).await?)
    }

    /// The rules that came from Kelvin's namespace.
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
        answer.data.context("Prometheus answered without data")
    }
}

/// Path of a query for the exemplars of the last ten minutes.
#[must_use]
pub fn exemplar_query(promql: &str) -> String {
    let now = unix_now();
    let (start, end) = ((now - 600).to_string(), now.to_string());
    path("query_exemplars", &[("query", promql), ("start", &start), ("end", &end)])
}

/// Trace ids in the data of the answer to that, the newest first.
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
    /// How much they have grown since, summed for each value of `label`. A sum would shrink when the counters of a pod
    /// that went some minutes ago leave Prometheus.
    pub async fn grown(&self, cluster: &Cluster, label: &str) -> Result<BTreeMap<String, f64>> {
        let mut grown = BTreeMap::new();
        for sample in cluster.query(&self.promql).await? {
            let before = self.values.get(&sample.metric).copied().unwrap_or_default();
            let of = sample.metric.get(label).cloned().unwrap_or_default();
            *grown.entry(of).or_default() += sample.value() - before;
        }
        Ok(grown)
    }

    /// How much they have grown since, all together.
    pub async fn total_growth(&self, cluster: &Cluster) -> Result<f64> {
        Ok(self.grown(cluster, "").await?.into_values().sum())
    }
}

impl Sample {
    /// NaN when Prometheus has none.
    #[must_use]
    pub fn value(&self) -> f64 {
        self.value.1.parse().unwrap_or(f64::NAN)
    }
}
