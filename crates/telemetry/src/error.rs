//! Why telemetry cannot be set up.

use std::io;

use kelvin_app::SettingsError;
use opentelemetry_sdk::error::OTelSdkError;

/// What is wrong with the `OTEL_*` variables or what they name.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// Variables that cannot be ignored safely, all at once.
    #[error("{0}")]
    Settings(#[from] SettingsError),
    /// The connection to the collector cannot be set up.
    #[error("the connection to the collector cannot be set up")]
    Channel(#[from] tonic::transport::Error),
    /// An exporter cannot be set up.
    #[error("an exporter cannot be set up: {0}")]
    Exporter(#[from] opentelemetry_otlp::ExporterBuildError),
    /// The exporters' thread cannot be started.
    #[error("the exporters' thread cannot be started: {0}")]
    Thread(#[from] io::Error),
    /// Metrics cannot be offered for scraping.
    #[error("metrics cannot be exposed to Prometheus: {0}")]
    Prometheus(OTelSdkError),
}
