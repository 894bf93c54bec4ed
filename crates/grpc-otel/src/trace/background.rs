//! Work that outlives its call.

use opentelemetry::{
    Context,
    trace::{Link, Span, SpanBuilder, SpanContext, TraceContextExt, Tracer},
};

/// Starts a span for work that goes on after the call which caused it has ended.
///
/// A child of the call's span would end after its parent and stretch the trace. This span begins
/// a trace of its own, with a link to the call that is current, and keeps the call's baggage. Run
/// the work in the returned context with `FutureExt::with_context`; the span ends when the last
/// copy of the context is dropped.
pub fn background<T>(tracer: &T, name: &'static str) -> Context
where
    T: Tracer,
    T::Span: Span + Send + Sync + 'static,
{
    Context::map_current(|call| {
        let cause = call.span().span_context().clone();
        let mut builder = SpanBuilder::from_name(name);
        if cause.is_valid() {
            builder = builder.with_links(vec![Link::with_context(cause)]);
        }
        let root = call.with_remote_span_context(SpanContext::empty_context());
        root.with_span(tracer.build_with_context(builder, &root))
    })
}
