//! Metrics for scraping, in Prometheus' text format.

use std::{collections::HashSet, fmt};

use opentelemetry::Key;
use opentelemetry_prometheus::PrometheusExporter;
use opentelemetry_sdk::error::OTelSdkError;
use prometheus::{Registry, TextEncoder};

/// Resource attributes that every series carries as labels. Prometheus' OTLP receiver makes `job` and `instance`
/// of these, so a scrape configuration can relabel to the same series.
const LABELS: [&str; 4] = ["service.namespace", "service.name", "service.instance.id", "service.version"];

/// Renders the metrics of the process. Names and units are those that Prometheus gives to metrics received by OTLP.
#[derive(Clone)]
pub struct Prometheus(Registry);

impl Prometheus {
    /// The reader that collects metrics when they are rendered, for a meter provider.
    pub(crate) fn new() -> Result<(Self, PrometheusExporter), OTelSdkError> {
        let registry = Registry::new();
        let labels: HashSet<Key> = LABELS.into_iter().map(Key::from_static_str).collect();
        let reader = opentelemetry_prometheus::exporter()
            .with_registry(registry.clone())
            .with_resource_selector(labels)
            // OTLP's way has no such labels, and queries would have to name them.
            .scope_info_enabled(false)
            .build()?;
        Ok((Self(registry), reader))
    }

    /// All metrics of this moment.
    #[must_use]
    pub fn render(&self) -> String {
        TextEncoder::new().encode_to_string(&self.0.gather()).unwrap_or_else(|error| {
            tracing::error!(%error, "cannot render metrics for Prometheus");
            String::new()
        })
    }
}

impl fmt::Debug for Prometheus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prometheus").finish_non_exhaustive()
    }
}
