//! Values of the OpenTelemetry Collector's chart.

use anyhow::{Context, Result};
use serde_json::Value;

const VALUES: &str = include_str!("../../../k8s/opentelemetry-collector.yaml");

/// Returns the attributes that become labels of span metrics, in addition to those that the connector always adds.
pub fn dimensions() -> Result<Vec<String>> {
    let values: Value = serde_saphyr::from_str(VALUES)?;
    let dimensions = values["config"]["connectors"]["span_metrics"]["dimensions"].as_array();
    let names = dimensions.into_iter().flatten().filter_map(|dimension| dimension["name"].as_str());
    let names: Vec<_> = names.map(str::to_owned).collect();
    names.first().context("span_metrics has no dimensions")?;
    Ok(names)
}
