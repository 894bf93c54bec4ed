//! The trace context and baggage in the headers of a request.

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::{
    Context,
    propagation::{Extractor, Injector, TextMapPropagator},
    trace::{SpanContext, TraceContextExt as _},
};

use crate::headers::find;

/// A propagator, and the headers it reads.
pub(crate) struct Propagator {
    inner: Box<dyn TextMapPropagator + Send + Sync>,
    fields: Vec<HeaderName>,
}

impl Propagator {
    pub(crate) fn new(inner: impl TextMapPropagator + Send + Sync + 'static) -> Self {
        let fields = inner.fields().filter_map(|field| HeaderName::try_from(field).ok()).collect();
        Self { inner: Box::new(inner), fields }
    }

    /// Returns the headers it reads; none if it does not say.
    pub(crate) fn fields(&self) -> &[HeaderName] {
        &self.fields
    }

    /// Reads the context that came with a request.
    pub(super) fn extract(&self, headers: &HeaderMap) -> Context {
        self.inner.extract(&Incoming::new(headers, &self.fields))
    }

    /// Reads the span that an untrusted caller names as the cause of a request; neither its baggage nor the current
    /// context counts.
    pub(super) fn extract_cause(&self, headers: &HeaderMap) -> Option<SpanContext> {
        let incoming = WithoutBaggage(Incoming::new(headers, &self.fields));
        let context = self.inner.extract_with_context(&Context::new(), &incoming);
        Some(context.span().span_context().clone()).filter(SpanContext::is_valid)
    }

    /// Sends a context, or the current one, with a request.
    pub(super) fn inject(&self, context: Option<&Context>, headers: &mut HeaderMap) {
        let mut outgoing = Outgoing(headers);
        match context {
            Some(context) => self.inner.inject_context(context, &mut outgoing),
            None => self.inner.inject(&mut outgoing),
        }
    }
}

/// The metadata of a request, for a propagator with these fields to read.
struct Incoming<'a> {
    headers: &'a HeaderMap,
    fields: &'a [HeaderName],
    /// The fields that came in several headers, with what they are together.
    repeated: Vec<(&'a HeaderName, Option<String>)>,
}

impl<'a> Incoming<'a> {
    fn new(headers: &'a HeaderMap, fields: &'a [HeaderName]) -> Self {
        let several = |field: &&HeaderName| headers.iter().filter(|(name, _)| name == field).nth(1).is_some();
        let repeated = fields.iter().filter(several).map(|field| (field, together(headers, field))).collect();
        Self { headers, fields, repeated }
    }
}

/// Joins several headers of a list, such as `tracestate` and `baggage`, to one (RFC 9110, section 5.3). Of
/// `traceparent` there may be only one: <https://www.w3.org/TR/trace-context/#traceparent-header>.
fn together(headers: &HeaderMap, field: &HeaderName) -> Option<String> {
    if !matches!(field.as_str(), "tracestate" | "baggage") {
        return None;
    }
    let values: Vec<_> = headers.get_all(field).iter().filter_map(|value| value.to_str().ok()).collect();
    Some(values.join(","))
}

/// Returns whether a `traceparent` has the form that [W3C] asks for; any other is to be ignored. The SDK's propagator
/// reads ids of any length. Versions above 00 may have more parts.
///
/// [W3C]: https://www.w3.org/TR/trace-context/#traceparent-header-field-values
fn is_traceparent(value: &str) -> bool {
    let is_hex = |part: &str| part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let mut parts = value.split('-');
    let mut has = |length| parts.next().is_some_and(|part| part.len() == length && is_hex(part));
    has(2)
        && has(32)
        && has(16)
        && has(2)
        && !value.starts_with("ff")
        && (parts.next().is_none() || !value.starts_with("00"))
}

impl Extractor for Incoming<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        if let Some((_, together)) = self.repeated.iter().find(|(field, _)| field.as_str() == key) {
            return together.as_deref();
        }
        let field = self.fields.iter().find(|field| field.as_str() == key);
        let value = field.map_or_else(|| self.headers.get(key), |field| find(self.headers, field));
        value?.to_str().ok().filter(|value| key != "traceparent" || is_traceparent(value))
    }

    fn keys(&self) -> Vec<&str> {
        self.headers.keys().map(HeaderName::as_str).collect()
    }

    fn get_all(&self, key: &str) -> Option<Vec<&str>> {
        let values: Vec<_> =
            self.headers.get_all(key).iter().filter_map(|value| value.to_str().ok()).collect();
        (!values.is_empty()).then_some(values)
    }
}

/// The same but for baggage.
struct WithoutBaggage<'a>(Incoming<'a>);

impl Extractor for WithoutBaggage<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        if key.eq_ignore_ascii_case("baggage") { None } else { self.0.get(key) }
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().into_iter().filter(|key| *key != "baggage").collect()
    }
}

/// The metadata of a request, for a propagator to write.
struct Outgoing<'a>(&'a mut HeaderMap);

impl Injector for Outgoing<'_> {
    fn set(&mut self, key: &str, value: String) {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(key), HeaderValue::try_from(value)) {
            self.0.insert(name, value);
        }
    }
}
