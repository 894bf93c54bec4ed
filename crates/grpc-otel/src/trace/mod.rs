//! The spans of gRFC A72, with OpenTelemetry's attributes.

mod addresses;
mod background;
mod events;
mod metadata;
mod propagator;
mod span;
mod start;
#[cfg(feature = "grpc-trace-bin")]
mod trace_bin;

use std::net::SocketAddr;

use http::{Extensions, HeaderMap, Request};
use opentelemetry::{Context, KeyValue, trace::SpanKind};

#[cfg(feature = "grpc-trace-bin")]
pub use self::trace_bin::GrpcTraceBinPropagator;
use self::{addresses::cut, start::Start};
pub(crate) use self::{
    addresses::peer,
    metadata::Metadata,
    propagator::Propagator,
    span::{CallSpan, Current, End},
    start::{SpanTemplate, StartSpan},
};
pub use self::{background::background, events::MessageEvents, span::SpanStatus};
use crate::{
    clock::{Instant, StartTime},
    names::Attributes,
    side::Side,
};

type Untrusted = Box<dyn Fn(&HeaderMap, &Extensions) -> bool + Send + Sync>;

/// Where spans go.
pub(crate) struct Tracing {
    pub(crate) tracer: Option<Box<dyn StartSpan>>,
    pub(crate) propagator: Option<Propagator>,
    pub(crate) events: MessageEvents,
    pub(crate) status: SpanStatus,
    pub(crate) attempt_kind: SpanKind,
    /// Whether the caller of such a request is not trusted with the sampling.
    pub(crate) untrusted: Option<Untrusted>,
    pub(crate) peer: fn(&Extensions) -> Option<SocketAddr>,
    pub(crate) for_sampler: bool,
    /// What the application adds to the attributes of calls.
    pub(crate) attributes: Option<Attributes>,
    pub(crate) metadata: Metadata,
    #[cfg(feature = "tracing")]
    pub(crate) bridge: bool,
}

impl Default for Tracing {
    fn default() -> Self {
        Self {
            tracer: None,
            propagator: None,
            events: MessageEvents::default(),
            status: SpanStatus::default(),
            attempt_kind: SpanKind::Internal,
            untrusted: None,
            peer: addresses::tonic_peer,
            for_sampler: false,
            attributes: None,
            metadata: Metadata::default(),
            #[cfg(feature = "tracing")]
            bridge: false,
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

    /// Starts the span of a server's call, in the context that came with it, if there is one.
    pub(crate) fn server_span<B>(
        &self,
        template: &SpanTemplate,
        started: Instant,
        request: &Request<B>,
        peer: Option<SocketAddr>,
        has_context: bool,
    ) -> CallSpan {
        if !self.enabled() {
            return CallSpan::none();
        }
        let span = self.unbridged_server_span(template, started, request, peer, has_context);
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
        peer: Option<SocketAddr>,
        has_context: bool,
    ) -> CallSpan {
        let (headers, extensions) = (request.headers(), request.extensions());
        let untrusted = self.untrusted.as_ref().is_some_and(|untrusted| untrusted(headers, extensions));
        let propagator = self.propagator.as_ref();
        let parent = if untrusted {
            Some(Context::new())
        } else {
            propagator
                .filter(|propagator| has_context || propagator.fields().is_empty())
                .map(|propagator| propagator.extract(headers))
        };
        let Some(tracer) = &self.tracer else {
            return parent.map_or_else(CallSpan::none, |parent| CallSpan::new(parent, None));
        };
        let describe = |set: &mut dyn FnMut(KeyValue)| {
            addresses::server(request, set);
            if let Some(peer) = peer.or_else(|| (self.peer)(extensions)) {
                addresses::peer(peer).into_iter().for_each(&mut *set);
            }
            self.describe_call(template, request, set);
        };
        let cause = propagator.filter(|_| untrusted).and_then(|propagator| propagator.extract_cause(headers));
        let (began, for_sampler) = (StartTime::at(started), self.for_sampler);
        let start = |parent: &Context| {
            tracer.start(Start { template, began, parent, cause, for_sampler, describe: &describe })
        };
        match &parent {
            Some(parent) => start(parent),
            None => Context::map_current(start),
        }
    }

    /// Starts the span of a client's call.
    pub(crate) fn call_span<B>(
        &self,
        template: &SpanTemplate,
        started: Instant,
        request: &Request<B>,
    ) -> CallSpan {
        self.client_span(template, started, &|set| self.describe_call(template, request, set))
    }

    /// Starts the span of a client's attempt and puts its context into the metadata. `previous` is the number of
    /// attempts before it; `transparent` says whether it is a transparent retry.
    pub(crate) fn attempt_span<B>(
        &self,
        template: &SpanTemplate,
        started: Instant,
        (previous, transparent): (u64, bool),
        request: &mut Request<B>,
    ) -> CallSpan {
        let previous = i64::try_from(previous).unwrap_or(i64::MAX);
        let span = self.client_span(template, started, &|set| {
            set(KeyValue::new("previous-rpc-attempts", previous));
            set(KeyValue::new("transparent-retry", transparent));
            original_method(template, request, set);
        });
        if let Some(propagator) = &self.propagator {
            propagator.inject(span.context(), request.headers_mut());
        }
        span
    }

    fn client_span(
        &self,
        template: &SpanTemplate,
        started: Instant,
        describe: &start::Describe<'_>,
    ) -> CallSpan {
        let Some(tracer) = &self.tracer else { return CallSpan::none() };
        let (began, for_sampler) = (StartTime::at(started), self.for_sampler);
        Context::map_current(|parent| {
            tracer.start(Start { template, began, parent, cause: None, for_sampler, describe })
        })
    }

    /// Returns which messages of a recorded call become events, if any do. Those of a client's call are events of its
    /// attempts.
    pub(crate) fn message_events(&self, side: Side) -> Option<MessageEvents> {
        (side != Side::Call && !self.events.is_none()).then_some(self.events)
    }

    /// Starts the span of a delay of what is in that context.
    pub(crate) fn delay_span(&self, kind: &'static str, started: Instant, parent: &Context) -> CallSpan {
        let Some(tracer) = &self.tracer else { return CallSpan::none() };
        let template = &SpanTemplate::delay(kind);
        let began = StartTime::at(started);
        tracer.start(Start { template, began, parent, cause: None, for_sampler: false, describe: &|_| () })
    }

    fn describe_call<B>(&self, template: &SpanTemplate, request: &Request<B>, set: &mut dyn FnMut(KeyValue)) {
        original_method(template, request, set);
        self.metadata.of_request(request.headers(), set);
        if let Some(attributes) = &self.attributes {
            attributes(request.headers(), request.extensions()).into_iter().for_each(set);
        }
    }
}

/// Sets the name of a method that is not registered.
fn original_method<B>(template: &SpanTemplate, request: &Request<B>, set: &mut dyn FnMut(KeyValue)) {
    if !template.registered {
        let name = cut(request.uri().path().trim_start_matches('/'));
        set(KeyValue::new("rpc.method_original", name.to_owned()));
    }
}
