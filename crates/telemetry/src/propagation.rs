//! How the context of a trace travels between processes.

use std::collections::BTreeSet;

use opentelemetry::propagation::{TextMapCompositePropagator, TextMapPropagator};
use opentelemetry_propagator_b3::{B3Encoding, Propagator as B3Propagator};
use opentelemetry_sdk::propagation::{BaggagePropagator, TraceContextPropagator};

use crate::environment::Environment;

/// The values of `OTEL_PROPAGATORS` that have a propagator here.
pub(crate) const NAMES: [&str; 5] = ["tracecontext", "baggage", "b3", "b3multi", "none"];

/// The propagators that `OTEL_PROPAGATORS` names, each once. Unknown names are left out.
pub(crate) fn propagator(environment: &Environment) -> TextMapCompositePropagator {
    let names: BTreeSet<_> = environment.list("OTEL_PROPAGATORS").into_iter().collect();
    if names.contains("none") {
        return TextMapCompositePropagator::new(Vec::new());
    }
    let default = environment.get("OTEL_PROPAGATORS").is_none();
    let has = |name: &str| names.contains(name) || default && matches!(name, "tracecontext" | "baggage");
    let mut propagators: Vec<Box<dyn TextMapPropagator + Send + Sync>> = Vec::new();
    if has("b3") {
        propagators.push(Box::new(B3Propagator::with_encoding(B3Encoding::SingleHeader)));
    }
    if has("b3multi") {
        propagators.push(Box::new(B3Propagator::with_encoding(B3Encoding::MultipleHeader)));
    }
    // After B3: of a request with both, the one that is extracted last counts.
    if has("tracecontext") {
        propagators.push(Box::new(TraceContextPropagator::new()));
    }
    if has("baggage") {
        propagators.push(Box::new(BaggagePropagator::new()));
    }
    TextMapCompositePropagator::new(propagators)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The headers that `value` of `OTEL_PROPAGATORS` reads and writes.
    fn fields(value: &str) -> Vec<String> {
        let mut environment = Environment::default();
        environment.set("OTEL_PROPAGATORS", value);
        let mut fields: Vec<_> = propagator(&environment).fields().map(ToOwned::to_owned).collect();
        fields.sort_unstable();
        fields
    }

    #[test]
    fn propagators_are_deduplicated_case_insensitive_and_w3c_by_default() {
        let w3c = ["baggage", "traceparent", "tracestate"];
        assert_eq!(fields(""), w3c);
        assert_eq!(fields("TraceContext, baggage,tracecontext,carrier-pigeon"), w3c);
        assert_eq!(fields("b3"), ["b3"]);
        assert!(fields("b3multi").contains(&"x-b3-traceid".to_owned()));
        assert!(fields("tracecontext,none").is_empty());
    }
}
