//! The spans of gRFC A72, with OpenTelemetry's attributes.

mod background;
mod events;
mod metadata;
mod span;
#[cfg(feature = "grpc-trace-bin")]
mod trace_bin;

use std::net::SocketAddr;

use http::{HeaderMap, Request};
use opentelemetry::{
    Context, KeyValue,
    propagation::TextMapPropagator,
    trace::{Span as _, SpanBuilder, SpanKind, TraceContextExt, Tracer},
};

pub(crate) use self::span::CallSpan;
#[cfg(feature = "grpc-trace-bin")]
pub use self::trace_bin::GrpcTraceBinPropagator;
pub use self::{background::background, events::MessageEvents, span::SpanErrors};
use crate::{
    names::{OTHER, RPC_METHOD, RPC_OTHER, RPC_SYSTEM_NAME, SERVER_ADDRESS, SERVER_PORT, intern},
    recorder::Side,
    target::Target,
};

/// Where spans go.
pub(crate) struct Tracing {
    pub(crate) tracer: Option<Box<dyn StartSpan>>,
    pub(crate) propagator: Option<Box<dyn TextMapPropagator + Send + Sync>>,
    pub(crate) events: MessageEvents,
    pub(crate) server_errors: SpanErrors,
    pub(crate) peer: fn(&http::Extensions) -> Option<SocketAddr>,
    #[cfg(feature = "tracing")]
    pub(crate) bridge: bool,
}

impl Default for Tracing {
    fn default() -> Self {
        Self {
            tracer: None,
            propagator: None,
            events: MessageEvents::default(),
            server_errors: SpanErrors::default(),
            peer: metadata::tonic_peer,
            #[cfg(feature = "tracing")]
            bridge: false,
        }
    }
}

/// A tracer of any kind.
pub(crate) trait StartSpan: Send + Sync {
    /// A context with the new span in it, and whether the span records anything.
    fn start(&self, builder: SpanBuilder, parent: &Context) -> (Context, bool);
}

impl<T> StartSpan for T
where
    T: Tracer + Send + Sync,
    T::Span: Send + Sync + 'static,
{
    fn start(&self, builder: SpanBuilder, parent: &Context) -> (Context, bool) {
        let span = self.build_with_context(builder, parent);
        if span.is_recording() {
            return (parent.with_span(span), true);
        }
        // Of a span that records nothing only the identity matters, for the spans below it.
        let identity = span.span_context();
        let same = identity.span_id() == parent.span().span_context().span_id();
        let context = if same { parent.clone() } else { parent.with_remote_span_context(identity.clone()) };
        (context, false)
    }
}

/// What all spans of a method have in common.
pub(crate) struct SpanTemplate {
    name: &'static str,
    kind: SpanKind,
    attributes: Vec<KeyValue>,
    registered: bool,
    #[cfg(feature = "tracing")]
    method: &'static str,
}

impl SpanTemplate {
    pub(crate) fn new(side: Side, target: Option<Target>, method: &'static str) -> Self {
        let prefix = match side {
            Side::Server => "Recv",
            Side::Call => "Sent",
            Side::Attempt => "Attempt",
        };
        let kind = if side == Side::Server { SpanKind::Server } else { SpanKind::Client };
        let registered = method != OTHER;
        let mut attributes = vec![
            KeyValue::new(RPC_SYSTEM_NAME, "grpc"),
            KeyValue::new(RPC_METHOD, if registered { method } else { RPC_OTHER }),
        ];
        if let Some(target) = target {
            attributes.push(KeyValue::new(SERVER_ADDRESS, target.address));
            attributes.extend(target.port.map(|port| KeyValue::new(SERVER_PORT, i64::from(port))));
        }
        let name = intern(&format!("{prefix}.{}", method.replace('/', ".")));
        Self {
            name,
            kind,
            attributes,
            registered,
            #[cfg(feature = "tracing")]
            method,
        }
    }

    fn builder(&self, extra: impl IntoIterator<Item = KeyValue>) -> SpanBuilder {
        // Room for what is known at the end, so that the list is allocated once.
        let mut attributes = Vec::with_capacity(self.attributes.len() + 6);
        attributes.extend_from_slice(&self.attributes);
        attributes.extend(extra);
        SpanBuilder::from_name(self.name).with_kind(self.kind.clone()).with_attributes(attributes)
    }
}

impl Tracing {
    pub(crate) fn enabled(&self) -> bool {
        self.tracer.is_some() || self.propagator.is_some()
    }

    /// The span of a server's call, in the context that came with it.
    pub(crate) fn server_span<B>(&self, template: &SpanTemplate, request: &Request<B>) -> CallSpan {
        let span = self.unbridged_server_span(template, request);
        #[cfg(feature = "tracing")]
        if self.bridge {
            return span.bridged(template.method);
        }
        span
    }

    fn unbridged_server_span<B>(&self, template: &SpanTemplate, request: &Request<B>) -> CallSpan {
        if !self.enabled() {
            return CallSpan::none();
        }
        let parent = match &self.propagator {
            Some(propagator) => propagator.extract(&metadata::Incoming(request.headers())),
            None => Context::current(),
        };
        let Some(tracer) = &self.tracer else { return CallSpan::unrecorded(parent) };
        let (context, recording) = tracer.start(template.builder([]), &parent);
        if !recording {
            return CallSpan::unrecorded(context);
        }
        let attributes = metadata::of_request(request, self.peer, template.registered);
        context.span().set_attributes(attributes);
        CallSpan::recorded(context, self.events, self.server_errors)
    }

    /// The span of a client's call.
    pub(crate) fn call_span(&self, template: &SpanTemplate) -> CallSpan {
        let Some(tracer) = &self.tracer else { return CallSpan::none() };
        let (context, recording) = Context::map_current(|parent| tracer.start(template.builder([]), parent));
        if recording {
            // Its messages are events of the attempts.
            CallSpan::recorded(context, MessageEvents::none(), SpanErrors::Grpc)
        } else {
            CallSpan::unrecorded(context)
        }
    }

    /// The span of a client's attempt, whose context goes into the metadata.
    pub(crate) fn attempt_span(
        &self,
        template: &SpanTemplate,
        previous: u64,
        headers: &mut HeaderMap,
    ) -> CallSpan {
        let span = match &self.tracer {
            None => CallSpan::none(),
            Some(tracer) => {
                let previous = i64::try_from(previous).unwrap_or(i64::MAX);
                let builder = template.builder([
                    KeyValue::new("previous-rpc-attempts", previous),
                    KeyValue::new("transparent-retry", false),
                ]);
                let (context, recording) = Context::map_current(|parent| tracer.start(builder, parent));
                if recording {
                    CallSpan::recorded(context, self.events, SpanErrors::Grpc)
                } else {
                    CallSpan::unrecorded(context)
                }
            }
        };
        if let Some(propagator) = &self.propagator {
            let mut outgoing = metadata::Outgoing(headers);
            match span.context() {
                Some(context) => propagator.inject_context(context, &mut outgoing),
                None => propagator.inject(&mut outgoing),
            }
        }
        span
    }
}
