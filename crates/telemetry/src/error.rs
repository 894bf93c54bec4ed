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

impl TelemetryError {
    /// Adds what is wrong with the program's other settings to what is wrong with the variables, so that both are reported
    /// at once. Any other error stays as it is.
    #[must_use]
    pub fn with(self, others: Result<(), SettingsError>) -> Self {
        match (self, others) {
            (Self::Settings(variables), Err(mut settings)) => {
                settings.append(variables);
                Self::Settings(settings)
            }
            (error, _) => error,
        }
    }
}
