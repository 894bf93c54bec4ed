//! How spans begin.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use opentelemetry::{
    Context, KeyValue,
    trace::{Link, Span as _, SpanBuilder, SpanContext, SpanKind, TraceContextExt, Tracer},
};

use super::span::CallSpan;
use crate::{
    clock::StartTime,
    names::{OTHER, RPC_METHOD, RPC_OTHER, RPC_SYSTEM_NAME, SERVER_ADDRESS, SERVER_PORT, intern},
    side::Side,
    target::Target,
};

/// Attributes for which a span has room from the start. Most have no more; a server's has two of the method, two of
/// each end, and the status.
const ATTRIBUTES: usize = 8;

/// Passes on each attribute that the span of one particular call has.
pub(crate) type Describe<'a> = dyn Fn(&mut dyn FnMut(KeyValue)) + 'a;

/// A span to begin.
pub(crate) struct Start<'a> {
    pub(super) template: &'a SpanTemplate,
    pub(super) began: StartTime,
    pub(super) parent: &'a Context,
    /// Of another trace.
    pub(super) cause: Option<SpanContext>,
    /// Whether the sampler sees the attributes. Otherwise they are only made for a span that records anything; the
    /// sampler sees the name, which holds the method, and the kind.
    pub(super) for_sampler: bool,
    pub(super) describe: &'a Describe<'a>,
}

/// A tracer of any kind.
pub(crate) trait StartSpan: Send + Sync {
    /// Starts the span and returns it in a context.
    fn start(&self, start: Start<'_>) -> CallSpan;
}

impl<T> StartSpan for T
where
    T: Tracer + Send + Sync,
    T::Span: Send + Sync + 'static,
{
    fn start(&self, start: Start<'_>) -> CallSpan {
        let Start { template, began, parent, cause, for_sampler, describe } = start;
        let mut builder = SpanBuilder::from_name(template.name)
            .with_kind(template.kind.clone())
            .with_start_time(began.time());
        if for_sampler || template.sampled.load(Relaxed) {
            let mut attributes = Vec::with_capacity(ATTRIBUTES);
            if for_sampler {
                attributes.extend_from_slice(&template.attributes);
                describe(&mut |attribute| attributes.push(attribute));
            }
            builder.attributes = Some(attributes);
        }
        builder.links = cause.map(|cause| vec![Link::with_context(cause)]);
        let mut span = self.build_with_context(builder, parent);
        let recording = span.is_recording();
        template.sampled.store(recording, Relaxed);
        if recording {
            if !for_sampler {
                template.attributes.iter().for_each(|attribute| span.set_attribute(attribute.clone()));
                describe(&mut |attribute| span.set_attribute(attribute));
            }
            return CallSpan::new(parent.with_span(span), Some(began));
        }
        // Of a span that records nothing only the identity matters, for the spans below it. A provider that is shut down
        // gives none: the caller's context is then passed on as it came.
        let identity = span.span_context();
        let keep = !identity.is_valid() || identity.span_id() == parent.span().span_context().span_id();
        let context = if keep { parent.clone() } else { parent.with_remote_span_context(identity.clone()) };
        CallSpan::new(context, None)
    }
}

/// What all spans of a method have in common.
pub(crate) struct SpanTemplate {
    pub(super) name: &'static str,
    pub(super) kind: SpanKind,
    attributes: Vec<KeyValue>,
    pub(super) registered: bool,
    /// Whether the last call was sampled: then there is likely use for room for attributes.
    sampled: AtomicBool,
    #[cfg(feature = "tracing")]
    pub(super) method: &'static str,
}

impl SpanTemplate {
    pub(crate) fn new(kind: SpanKind, side: Side, target: Option<&Target>, method: &'static str) -> Self {
        let prefix = match side {
            Side::Server => "Recv",
            Side::Call => "Sent",
            Side::Attempt => "Attempt",
        };
        let registered = method != OTHER;
        let mut attributes = vec![
            KeyValue::new(RPC_SYSTEM_NAME, "grpc"),
            KeyValue::new(RPC_METHOD, if registered { method } else { RPC_OTHER }),
        ];
        if let Some(target) = target {
            attributes.push(KeyValue::new(SERVER_ADDRESS, target.address.clone()));
            attributes.extend(target.port.map(|port| KeyValue::new(SERVER_PORT, i64::from(port))));
        }
        Self {
            registered,
            #[cfg(feature = "tracing")]
            method,
            ..Self::internal(intern(&format!("{prefix}.{}", method.replace('/', "."))), kind, attributes)
        }
    }

    /// Describes a delay of this kind (A121).
    pub(super) fn delay(kind: &'static str) -> Self {
        Self::internal("Delay", SpanKind::Internal, vec![KeyValue::new("grpc.delay_type", kind)])
    }

    fn internal(name: &'static str, kind: SpanKind, attributes: Vec<KeyValue>) -> Self {
        Self {
            name,
            kind,
            attributes,
            registered: true,
            sampled: AtomicBool::new(false),
            #[cfg(feature = "tracing")]
            method: name,
        }
    }
}
