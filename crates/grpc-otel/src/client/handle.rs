//! What a channel says of an attempt.

#[cfg(feature = "trace")]
use std::sync::atomic::Ordering::Relaxed;
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
    /// The same attempt as the layer of another [`GrpcOtel`](crate::GrpcOtel) outside sees it.
    outer: Option<Arc<Self>>,
    /// The context of the call that the attempt is one of, if it is known.
    #[cfg(feature = "trace")]
    parent: Option<Context>,
}

impl Attempt {
    /// Creates the handle of `call`; `present` is the one that the request already carries, from outside or from an
    /// earlier attempt.
    pub(super) fn new(
        call: Arc<Call>,
        present: Option<Self>,
        #[cfg(feature = "trace")] in_call: bool,
    ) -> Self {
        #[cfg(feature = "trace")]
        let parent = (in_call && call.span.is_recorded()).then(Context::current);
        // A request that is sent again may still have this layer's last attempt, and those of layers inside.
        let mut all = std::iter::successors(present.as_ref(), |attempt| attempt.outer.as_deref());
        let own = all.find(|attempt| Arc::ptr_eq(&attempt.call.recorder.shared, &call.recorder.shared));
        let outer = own.map(|own| own.outer.clone());
        Self {
            call,
            outer: outer.unwrap_or_else(|| present.map(Arc::new)),
            #[cfg(feature = "trace")]
            parent,
        }
    }

    /// Records the peer that was picked for the attempt, as `network.peer.address` and `network.peer.port` of the spans of
    /// the attempt and of its call, which keeps the last one.
    pub fn record_peer(&self, peer: SocketAddr) {
        if let Some(outer) = &self.outer {
            outer.record_peer(peer);
        }
        #[cfg(feature = "trace")]
        {
            self.delay_complete(true);
            self.delay_complete(false);
            for context in self.delayed(false).into_iter().chain(&self.parent) {
                context.span().set_attributes(crate::trace::peer(peer));
            }
        }
    }

    /// Begins a delay of the attempt within the channel (gRFC A121), which ends when the result is dropped. `kind` is one
    /// of a few, such as `connecting`, or `resolving` for name resolution, which is a delay of the call; `reason` is for
    /// people.
    ///
    /// A delay is a span named `Delay` and, with [`Builder::delay_metrics`](crate::Builder::delay_metrics), a measurement
    /// of `grpc.client.attempt.delay.duration` or `grpc.client.call.delay.duration`. A72's events follow, each at most once
    /// an attempt: `Delayed name resolution complete` when the next delay begins or the peer is recorded, and `Delayed LB
    /// pick complete` when the peer is recorded. An attempt that ends before has neither.
    pub fn delay(&self, kind: &'static str, reason: impl Into<String>) -> Delay {
        self.delay_from(Instant::now(), kind, reason.into())
    }

    fn delay_from(&self, started: Instant, kind: &'static str, reason: String) -> Delay {
        let resolving = kind == RESOLVING;
        #[cfg(feature = "trace")]
        if !resolving {
            self.delay_complete(true);
        }
        Delay {
            _outer: self.outer.as_ref().map(|outer| outer.delay_from(started, kind, reason.clone()).into()),
            #[cfg(feature = "trace")]
            span: self.delayed(resolving).map(|context| {
                let span = self.call.recorder.shared.tracing.delay_span(kind, started, context);
                span.event("Delay triggered", started, vec![KeyValue::new("grpc.delay_reason", reason)]);
                span
            }),
            attempt: self.clone(),
            resolving,
            #[cfg(feature = "metrics")]
            measured: (kind, started),
        }
    }

    /// Returns the context of what is delayed, if it is recorded.
    #[cfg(feature = "trace")]
    fn delayed(&self, resolving: bool) -> Option<&Context> {
        let attempt = self.call.span.context().filter(|_| self.call.span.is_recorded());
        if resolving { self.parent.as_ref().or(attempt) } else { attempt }
    }

    /// Records that what has been delayed is there, once.
    #[cfg(feature = "trace")]
    fn delay_complete(&self, resolving: bool) {
        let delays = &self.call.delays[usize::from(resolving)];
        if delays.compare_exchange(OVER, RECORDED, Relaxed, Relaxed).is_ok()
            && let Some(context) = self.delayed(resolving)
        {
            let event =
                if resolving { "Delayed name resolution complete" } else { "Delayed LB pick complete" };
            let now = self.call.span.time_at(Instant::now());
            context.span().add_event_with_timestamp(event, now, Vec::new());
        }
    }
}

/// The kind of delay that is one of the call.
const RESOLVING: &str = "resolving";

/// State of an entry of a call's `delays`, which is 0 at first: there have been delays of this kind.
#[cfg(feature = "trace")]
const OVER: u8 = 1;
/// State of an entry of a call's `delays`: there have been some, and their event is recorded.
#[cfg(feature = "trace")]
const RECORDED: u8 = 2;

/// A delay of an attempt, until it is dropped. Made by [`Attempt::delay`].
#[must_use]
pub struct Delay {
    _outer: Option<Box<Self>>,
    attempt: Attempt,
    resolving: bool,
    /// The kind of delay, and since when.
    #[cfg(feature = "metrics")]
    measured: (&'static str, Instant),
    #[cfg(feature = "trace")]
    span: Option<CallSpan>,
}

impl Drop for Delay {
    fn drop(&mut self) {
        let (attempt, ended) = (&self.attempt, Instant::now());
        #[cfg(feature = "trace")]
        {
            let delays = &attempt.call.delays[usize::from(self.resolving)];
            let _ = delays.compare_exchange(0, OVER, Relaxed, Relaxed);
            if let Some(span) = &self.span {
                span.finish(ended);
            }
        }
        #[cfg(feature = "metrics")]
        {
            #[cfg(feature = "trace")]
            let _current = attempt.delayed(self.resolving).cloned().map(Context::attach);
            let (call, (kind, started)) = (&attempt.call, self.measured);
            call.recorder.metrics.delayed(self.resolving, kind, ended - started, call.labels());
        }
    }
}
