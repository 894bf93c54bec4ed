//! The OpenTelemetry SDK, set up from `OTEL_*` variables: traces, metrics and logs over OTLP, by gRPC or
//! by HTTP, and logs on stdout.
//!
//! Where no endpoint is set nothing is recorded or exported, and there is no warning. Exporters run on a thread of
//! their own, so neither a current-thread runtime nor a call ever waits for a collector; what a collector
//! does not take is dropped from bounded queues.

mod channel;
mod console;
mod destination;
mod environment;
mod error;
mod exporter;
mod first_export;
mod headers;
mod http_client;
mod key_values;
mod logs;
mod numbers;
mod process;
mod processors;
mod prometheus;
mod propagation;
#[cfg(feature = "receiver")]
pub mod receiver;
mod resource;
mod runtime;
mod settings;
mod telemetry;
mod tls;
mod variables;

pub use error::TelemetryError;
pub use prometheus::Prometheus;
pub use runtime::observe_runtime;
pub use settings::WithTelemetry;
pub use telemetry::{Builder, Telemetry};
pub use tls::CurrentTls;
