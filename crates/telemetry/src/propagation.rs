//! How the context of a trace travels between processes.

use opentelemetry::propagation::{TextMapCompositePropagator, TextMapPropagator};
use opentelemetry_sdk::propagation::{BaggagePropagator, TraceContextPropagator};

use crate::environment::Environment;

/// The propagators that `OTEL_PROPAGATORS` names, of those there are: `tracecontext`, `baggage`, `none`.
/// The specification wants a warning for others, which the caller can only give once logs are set up.
pub(crate) fn propagator(environment: &Environment) -> (TextMapCompositePropagator, Vec<String>) {
    let mut unknown = Vec::new();
    let mut propagators: Vec<Box<dyn TextMapPropagator + Send + Sync>> = Vec::new();
    for name in environment.get("OTEL_PROPAGATORS").unwrap_or("tracecontext,baggage").split(',') {
        match name.trim() {
            "tracecontext" => propagators.push(Box::new(TraceContextPropagator::new())),
            "baggage" => propagators.push(Box::new(BaggagePropagator::new())),
            "none" => return (TextMapCompositePropagator::new(Vec::new()), unknown),
            other => unknown.push(other.to_owned()),
        }
    }
    (TextMapCompositePropagator::new(propagators), unknown)
}
