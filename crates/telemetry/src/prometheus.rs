//! Metrics for scraping, in Prometheus' text format.

use std::{collections::HashSet, fmt};

use opentelemetry::Key;
use opentelemetry_prometheus::PrometheusExporter;
use opentelemetry_sdk::error::OTelSdkError;
use prometheus::{Registry, TextEncoder};

/// The resource attribute that every series carries as a label. All others are labels of `target_info`, as with
/// Prometheus' OTLP receiver; the scrape configuration says what job and instance this is.
const LABEL: &str = "service.version";

/// Renders the metrics of the process. Names and units are those that Prometheus gives to metrics received by OTLP.
#[derive(Clone)]
pub struct Prometheus(Registry);

impl Prometheus {
    /// The reader that collects metrics when they are rendered, for a meter provider.
    pub(crate) fn new() -> Result<(Self, PrometheusExporter), OTelSdkError> {
        let registry = Registry::new();
        let reader = opentelemetry_prometheus::exporter()
            .with_registry(registry.clone())
            .with_resource_selector(HashSet::from([Key::from_static_str(LABEL)]))
            // OTLP's way has no such labels, and queries would have to name them.
            .scope_info_enabled(false)
            .build()?;
        Ok((Self(registry), reader))
    }

    /// Renders all metrics of this moment as Prometheus' text format.
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
