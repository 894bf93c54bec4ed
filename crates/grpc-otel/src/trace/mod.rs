//! The spans of gRFC A72, with OpenTelemetry's attributes.

mod background;
mod ends;
mod events;
mod metadata;
mod span;
#[cfg(feature = "grpc-trace-bin")]
mod trace_bin;

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

use http::{HeaderMap, Request};
use opentelemetry::{
    Context, KeyValue,
    trace::{Link, Span as _, SpanBuilder, SpanContext, SpanKind, TraceContextExt, Tracer},
};

#[cfg(feature = "grpc-trace-bin")]
pub use self::trace_bin::GrpcTraceBinPropagator;
pub use self::{background::background, events::MessageEvents, span::SpanErrors};
pub(crate) use self::{
    metadata::Propagator,
    span::{CallSpan, Current},
};
use crate::{
    clock::{Beginning, Instant},
    names::{OTHER, RPC_METHOD, RPC_OTHER, RPC_SYSTEM_NAME, SERVER_ADDRESS, SERVER_PORT, intern},
    recorder::Side,
    target::Target,
};

type Public = Box<dyn Fn(&HeaderMap, &http::Extensions) -> bool + Send + Sync>;

/// Where spans go.
pub(crate) struct Tracing {
    pub(crate) tracer: Option<Box<dyn StartSpan>>,
    pub(crate) propagator: Option<Propagator>,
    pub(crate) events: MessageEvents,
    pub(crate) server_errors: SpanErrors,
    pub(crate) attempt_kind: SpanKind,
    /// Whether the caller of such a request is a stranger.
    pub(crate) public: Option<Public>,
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
            attempt_kind: SpanKind::Internal,
            public: None,
            peer: ends::tonic_peer,
            #[cfg(feature = "tracing")]
            bridge: false,
        }
    }
}

/// Most spans have no more; a server's has two of the method, two of each end, and the status.
const ATTRIBUTES: usize = 8;

/// Hands on each attribute that the span of one particular call has.
type Describe<'a> = dyn Fn(&mut dyn FnMut(KeyValue)) + 'a;

/// A tracer of any kind.
pub(crate) trait StartSpan: Send + Sync {
    /// The new span, in a context. It is described only if it records anything; the sampler sees the
    /// name, which holds the method, and the kind.
    fn start(
        &self,
        template: &SpanTemplate,
        began: Beginning,
        parent: &Context,
        cause: Option<SpanContext>,
        describe: &Describe<'_>,
    ) -> CallSpan;
}

impl<T> StartSpan for T
where
    T: Tracer + Send + Sync,
    T::Span: Send + Sync + 'static,
{
    fn start(
        &self,
        template: &SpanTemplate,
        began: Beginning,
        parent: &Context,
        cause: Option<SpanContext>,
        describe: &Describe<'_>,
    ) -> CallSpan {
        let mut builder = SpanBuilder::from_name(template.name)
            .with_kind(template.kind.clone())
            .with_start_time(began.time());
        if template.sampled.load(Relaxed) {
            builder.attributes = Some(Vec::with_capacity(ATTRIBUTES));
        }
        builder.links = cause.map(|cause| vec![Link::with_context(cause)]);
        let mut span = self.build_with_context(builder, parent);
        let recording = span.is_recording();
        template.sampled.store(recording, Relaxed);
        if recording {
            template.attributes.iter().for_each(|attribute| span.set_attribute(attribute.clone()));
            describe(&mut |attribute| span.set_attribute(attribute));
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
    name: &'static str,
    kind: SpanKind,
    attributes: Vec<KeyValue>,
    registered: bool,
    /// Whether the last call was sampled: then there is likely use for room for attributes.
    sampled: AtomicBool,
    #[cfg(feature = "tracing")]
    method: &'static str,
}

impl SpanTemplate {
    pub(crate) fn new(kind: SpanKind, side: Side, target: Option<Target>, method: &'static str) -> Self {
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
            attributes.push(KeyValue::new(SERVER_ADDRESS, target.address));
            attributes.extend(target.port.map(|port| KeyValue::new(SERVER_PORT, i64::from(port))));
        }
        let name = intern(&format!("{prefix}.{}", method.replace('/', ".")));
        Self {
            name,
            kind,
            attributes,
            registered,
            sampled: AtomicBool::new(false),
            #[cfg(feature = "tracing")]
            method,
        }
    }
}

impl Tracing {
    pub(crate) fn enabled(&self) -> bool {
        self.tracer.is_some() || self.propagator.is_some()
    }

    pub(crate) fn kind(&self, side: Side) -> SpanKind {
        match side {
            Side::Server => SpanKind::Server,
            Side::Call => SpanKind::Client,
            Side::Attempt => self.attempt_kind.clone(),
        }
    }

    /// The span of a server's call, in the context that came with it.
    pub(crate) fn server_span<B>(
        &self,
        template: &SpanTemplate,
        started: Instant,
        request: &Request<B>,
    ) -> CallSpan {
        let span = self.unbridged_server_span(template, started, request);
        #[cfg(feature = "tracing")]
        if self.bridge {
            return span.bridged(template.method);
        }
        span
    }

    fn unbridged_server_span<B>(
        &self,
        template: &SpanTemplate,
        started: Instant,
        request: &Request<B>,
    ) -> CallSpan {
        let stranger =
            self.public.as_ref().is_some_and(|public| public(request.headers(), request.extensions()));
        let propagator = self.propagator.as_ref();
        let parent = if stranger {
            Some(Context::new())
        } else {
            propagator.and_then(|propagator| propagator.extract(request.headers()))
        };
        let Some(tracer) = &self.tracer else {
            return parent.map_or_else(CallSpan::none, |parent| CallSpan::new(parent, None));
        };
        let describe = |set: &mut dyn FnMut(KeyValue)| {
            ends::of_request(request, self.peer, set);
            if !template.registered {
                let name = ends::cut(request.uri().path().trim_start_matches('/'));
                set(KeyValue::new("rpc.method_original", name.to_owned()));
            }
        };
        let began = Beginning::at(started);
        let cause = propagator.filter(|_| stranger);
        let cause = cause.and_then(|propagator| propagator.extract_cause(request.headers()));
        match &parent {
            Some(parent) => tracer.start(template, began, parent, cause, &describe),
            None => Context::map_current(|parent| tracer.start(template, began, parent, cause, &describe)),
        }
    }

    /// The span of a client's call.
    pub(crate) fn call_span(&self, template: &SpanTemplate, started: Instant) -> CallSpan {
        let Some(tracer) = &self.tracer else { return CallSpan::none() };
        let began = Beginning::at(started);
        Context::map_current(|parent| tracer.start(template, began, parent, None, &|_| ()))
    }

    /// The span of a client's attempt, whose context goes into the metadata.
    pub(crate) fn attempt_span(
        &self,
        template: &SpanTemplate,
        started: Instant,
        previous: u64,
        headers: &mut HeaderMap,
    ) -> CallSpan {
        let span = match &self.tracer {
            None => CallSpan::none(),
            Some(tracer) => {
                let previous = i64::try_from(previous).unwrap_or(i64::MAX);
                let describe = |set: &mut dyn FnMut(KeyValue)| {
                    set(KeyValue::new("previous-rpc-attempts", previous));
                    set(KeyValue::new("transparent-retry", false));
                };
                let began = Beginning::at(started);
                Context::map_current(|parent| tracer.start(template, began, parent, None, &describe))
            }
        };
        if let Some(propagator) = &self.propagator {
            propagator.inject(span.context(), headers);
        }
        span
    }
}
