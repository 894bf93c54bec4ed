//! What a channel says of an attempt.

use std::{net::SocketAddr, sync::Arc};

#[cfg(feature = "trace")]
use opentelemetry::{Context, KeyValue, trace::TraceContextExt as _};

#[cfg(feature = "trace")]
use crate::trace::CallSpan;
use crate::{call::Call, clock::Instant};

/// The attempt that a request belongs to, among the extensions of each request that
/// [`ClientAttemptLayer`](crate::ClientAttemptLayer) passes on, if it records it. Load balancers report through it what
/// only they know.
///
/// ```
/// # use std::net::SocketAddr;
/// # fn send(request: &http::Request<()>, address: SocketAddr) {
/// if let Some(attempt) = request.extensions().get::<grpc_otel::Attempt>() {
///     attempt.record_peer(address);
/// }
/// # }
/// ```
#[derive(Clone)]
pub struct Attempt {
    call: Arc<Call>,
    /// The context of the call that the attempt is one of, if it is known.
    #[cfg(feature = "trace")]
    parent: Option<Context>,
}

impl Attempt {
    pub(super) fn new(call: Arc<Call>, #[cfg(feature = "trace")] in_call: bool) -> Self {
        #[cfg(feature = "trace")]
        let parent = (in_call && call.span.is_recorded()).then(Context::current);
        Self {
            call,
            #[cfg(feature = "trace")]
            parent,
        }
    }

    /// Records the peer that the attempt is sent to, as `network.peer.address` and `network.peer.port` of the spans of the
    /// attempt and of its call, which keeps the last one.
    #[cfg_attr(not(feature = "trace"), expect(unused_variables, reason = "only spans have peers"))]
    pub fn record_peer(&self, peer: SocketAddr) {
        #[cfg(feature = "trace")]
        for context in
            self.call.span.context().filter(|_| self.call.span.is_recorded()).into_iter().chain(&self.parent)
        {
            context.span().set_attributes(crate::trace::peer(peer));
        }
    }

    /// Begins a delay of the attempt within the channel (gRFC A121), which ends when the result is dropped. `kind` is one
    /// of a few, such as `connecting`, or `resolving` for name resolution, which is a delay of the call; `reason` is for
    /// people.
    ///
    /// A delay is a span named `Delay`, A72's event `Delayed LB pick complete` or `Delayed name resolution complete` and,
    /// with [`Builder::delay_metrics`](crate::Builder::delay_metrics), a measurement of
    /// `grpc.client.attempt.delay.duration` or `grpc.client.call.delay.duration`.
    #[cfg_attr(not(feature = "trace"), expect(unused_variables, reason = "only spans have reasons"))]
    pub fn delay(&self, kind: &'static str, reason: impl Into<String>) -> Delay {
        let started = Instant::now();
        Delay {
            #[cfg(feature = "trace")]
            span: self.delayed(kind).map(|context| {
                let span = self.call.recorder.shared.tracing.delay_span(kind, started, context);
                let reason = KeyValue::new("grpc.delay_reason", reason.into());
                span.event("Delay triggered", started, vec![reason]);
                span
            }),
            attempt: self.clone(),
            kind,
            #[cfg(feature = "metrics")]
            started,
        }
    }

    /// The context of what is delayed, if it is recorded.
    #[cfg(feature = "trace")]
    fn delayed(&self, kind: &str) -> Option<&Context> {
        let attempt = self.call.span.context().filter(|_| self.call.span.is_recorded());
        if kind == RESOLVING { self.parent.as_ref().or(attempt) } else { attempt }
    }
}

/// The kind of delay that is one of the call.
const RESOLVING: &str = "resolving";

/// A delay of an attempt, until it is dropped. Made by [`Attempt::delay`].
#[must_use]
pub struct Delay {
    attempt: Attempt,
    kind: &'static str,
    #[cfg(feature = "metrics")]
    started: Instant,
    #[cfg(feature = "trace")]
    span: Option<CallSpan>,
}

impl Drop for Delay {
    #[cfg_attr(not(feature = "metrics"), expect(unused_variables, reason = "only metrics have durations"))]
    fn drop(&mut self) {
        let ended = Instant::now();
        let call = &self.attempt.call;
        #[cfg(feature = "metrics")]
        call.recorder.metrics.delayed(self.kind == RESOLVING, self.kind, ended - self.started, &call.labels);
        #[cfg(feature = "trace")]
        if let Some(span) = &self.span {
            span.finish(ended);
            if let Some(context) = self.attempt.delayed(self.kind) {
                let resolving = self.kind == RESOLVING;
                let event =
                    if resolving { "Delayed name resolution complete" } else { "Delayed LB pick complete" };
                context.span().add_event_with_timestamp(event, span.time_at(ended), Vec::new());
            }
        }
    }
}
