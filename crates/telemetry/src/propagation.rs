//! How the context of a trace travels between processes.

use std::collections::BTreeSet;

use opentelemetry::{
    Context,
    propagation::{
        Extractor, Injector, TextMapCompositePropagator, TextMapPropagator, text_map_propagator::FieldIter,
    },
    trace::TraceContextExt as _,
};
use opentelemetry_propagator_b3::{B3Encoding, Propagator as B3Propagator};
use opentelemetry_sdk::propagation::{BaggagePropagator, TraceContextPropagator};

use crate::environment::Environment;

/// The values of `OTEL_PROPAGATORS` that have a propagator here.
pub(crate) const NAMES: [&str; 5] = ["tracecontext", "baggage", "b3", "b3multi", "none"];

/// All headers of B3: <https://github.com/openzipkin/b3-propagation>.
const B3_HEADERS: [&str; 6] =
    ["b3", "x-b3-flags", "x-b3-parentspanid", "x-b3-sampled", "x-b3-spanid", "x-b3-traceid"];

/// The propagators that `OTEL_PROPAGATORS` names, each once. Unknown names are left out, and where no other is left the
/// default counts.
pub(crate) fn propagator(environment: &Environment) -> TextMapCompositePropagator {
    let names: BTreeSet<_> = environment.list("OTEL_PROPAGATORS", &NAMES).into_iter().collect();
    if names.contains("none") {
        return TextMapCompositePropagator::new(Vec::new());
    }
    let has =
        |name: &str| names.contains(name) || names.is_empty() && matches!(name, "tracecontext" | "baggage");
    let mut propagators: Vec<Box<dyn TextMapPropagator + Send + Sync>> = Vec::new();
    if has("b3") {
        propagators.push(Box::new(B3::new(true)));
    }
    if has("b3multi") {
        propagators.push(Box::new(B3::new(false)));
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

/// B3 in one of its forms to send, and in both to read, as its specification wants.
#[derive(Debug)]
struct B3 {
    inner: B3Propagator,
    single: bool,
    fields: [String; 6],
}

impl B3 {
    fn new(single: bool) -> Self {
        let sent = if single { B3Encoding::SingleHeader } else { B3Encoding::MultipleHeader };
        Self { inner: B3Propagator::with_encoding(sent), single, fields: B3_HEADERS.map(ToOwned::to_owned) }
    }
}

impl TextMapPropagator for B3 {
    fn inject_context(&self, context: &Context, injector: &mut dyn Injector) {
        // Without a trace the crate would send the decision not to sample.
        if context.span().span_context().is_valid() {
            self.inner.inject_context(context, &mut OneForm { injector, single: self.single });
        }
    }

    fn extract_with_context(&self, context: &Context, extractor: &dyn Extractor) -> Context {
        self.inner.extract_with_context(context, extractor)
    }

    /// Of the crate's, only the headers that it sends: whoever looks for these first would not read the other form.
    fn fields(&self) -> FieldIter<'_> {
        FieldIter::new(&self.fields)
    }
}

/// Leaves out the other form: asked for a single header, the crate sends both.
struct OneForm<'a> {
    injector: &'a mut dyn Injector,
    single: bool,
}

impl Injector for OneForm<'_> {
    fn set(&mut self, key: &str, value: String) {
        if (key == "b3") == self.single {
            self.injector.set(key, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};

    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const SPAN: &str = "00f067aa0ba902b7";

    fn propagator(value: &str) -> TextMapCompositePropagator {
        let mut environment = Environment::default();
        environment.set("OTEL_PROPAGATORS", value);
        super::propagator(&environment)
    }

    /// The headers that `value` of `OTEL_PROPAGATORS` reads and writes.
    fn fields(value: &str) -> Vec<String> {
        let propagator = propagator(value);
        let mut fields: Vec<_> = propagator.fields().map(ToOwned::to_owned).collect();
        fields.sort_unstable();
        fields
    }

    fn sent(value: &str, context: &Context) -> HashMap<String, String> {
        let mut headers = HashMap::new();
        propagator(value).inject_context(context, &mut headers);
        headers
    }

    fn headers<const N: usize>(headers: [(&str, &str); N]) -> HashMap<String, String> {
        headers.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
    }

    #[test]
    fn propagators_ignore_case_and_duplicates_and_default_to_w3c() {
        let w3c = ["baggage", "traceparent", "tracestate"];
        assert_eq!(fields(""), w3c);
        assert_eq!(fields("TraceContext, baggage,tracecontext,carrier-pigeon"), w3c);
        assert_eq!(fields("b3"), B3_HEADERS);
        assert_eq!(fields("b3multi,tracecontexts"), B3_HEADERS);
        assert!(fields("tracecontext,none").is_empty());
    }

    #[test]
    fn typo_leaves_the_default() {
        for value in ["tracecontexts", "tracecontexts,jaeger", ","] {
            assert_eq!(fields(value), ["baggage", "traceparent", "tracestate"], "{value}");
        }
    }

    #[test]
    fn b3_is_read_in_both_forms_and_sent_in_its_own() {
        let single = headers([("b3", &format!("{TRACE}-{SPAN}-1"))]);
        let multiple = headers([("x-b3-sampled", "1"), ("x-b3-spanid", SPAN), ("x-b3-traceid", TRACE)]);
        let (trace, span) = (TraceId::from_hex(TRACE).unwrap(), SpanId::from_hex(SPAN).unwrap());
        let expected = SpanContext::new(trace, span, TraceFlags::SAMPLED, true, TraceState::NONE);
        for (value, own) in [("b3", &single), ("b3multi", &multiple)] {
            for received in [&single, &multiple] {
                assert!(received.keys().all(|name| fields(value).contains(name)), "{value}: {received:?}");
                let context = propagator(value).extract_with_context(&Context::new(), received);
                assert_eq!(context.span().span_context(), &expected, "{value}: {received:?}");
                assert_eq!(sent(value, &context), *own, "{value}: {received:?}");
            }
        }
    }

    #[test]
    fn without_a_trace_no_propagator_sends_anything() {
        assert_eq!(sent("tracecontext,baggage,b3,b3multi", &Context::new()), HashMap::new());
    }
}
