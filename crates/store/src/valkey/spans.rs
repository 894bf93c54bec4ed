use std::{fmt, sync::OnceLock};

use opentelemetry::{
    Context, KeyValue,
    global::{BoxedSpan, BoxedTracer, ObjectSafeTracer},
    trace::{Span, SpanBuilder, SpanContext, SpanKind, Status, TraceContextExt, Tracer},
};

use crate::instruments::Operation;

/// Spans by OpenTelemetry's conventions for database clients: one for each sampled call, from hand-over to
/// acknowledgement, and one for the flush that carried it, which belongs to the first of its sampled calls and is
/// linked from them all.
#[derive(Default)]
pub(super) struct Spans(OnceLock<BoxedTracer>);

impl Spans {
    /// Sets the tracer; only the first one is used.
    pub(super) fn set(&self, tracer: impl ObjectSafeTracer + Send + Sync + 'static) {
        let _ = self.0.set(BoxedTracer::new(Box::new(tracer)));
    }

    /// The span of a call whose span is current and sampled.
    pub(super) fn call(&self, readings: usize) -> Option<BoxedSpan> {
        let current = Context::current();
        if !current.span().span_context().is_sampled() {
            return None;
        }
        self.start(Operation::Append.as_str(), &current, readings)
    }

    /// The span of a flush on behalf of a sampled call.
    pub(super) fn flush(&self, call: Option<&SpanContext>, readings: usize) -> Option<BoxedSpan> {
        let parent = Context::new().with_remote_span_context(call?.clone());
        self.start("EVALSHA", &parent, readings)
    }

    fn start(&self, operation: &'static str, parent: &Context, readings: usize) -> Option<BoxedSpan> {
        let tracer = self.0.get()?;
        let attributes = [
            KeyValue::new("db.system.name", "valkey"),
            KeyValue::new("db.operation.name", operation),
            KeyValue::new("db.operation.batch.size", i64::try_from(readings).unwrap_or(i64::MAX)),
        ];
        let span = SpanBuilder::from_name(operation).with_kind(SpanKind::Client).with_attributes(attributes);
        Some(tracer.build_with_context(span, parent))
    }
}

/// Ends a span with its result.
pub(super) fn end(span: Option<BoxedSpan>, failure: Option<&str>, flush: Option<SpanContext>) {
    let Some(mut span) = span else { return };
    if let Some(flush) = flush {
        span.add_link(flush, Vec::new());
    }
    if let Some(failure) = failure {
        span.set_status(Status::error(failure.to_owned()));
    }
    span.end();
}

impl fmt::Debug for Spans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Spans").field(&self.0.get().is_some()).finish()
    }
}
