//! Where telemetry goes, and how much of it.

use std::any::TypeId;
use std::sync::Arc;

use opentelemetry::InstrumentationScope;
#[cfg(feature = "metrics")]
use opentelemetry::metrics::{MeterProvider, noop::NoopMeterProvider};
#[cfg(feature = "trace")]
use opentelemetry::{
    propagation::TextMapPropagator,
    trace::{SpanKind, Tracer, TracerProvider, noop::NoopTracerProvider},
};

#[cfg(feature = "metrics")]
use crate::metrics::{DurationMetrics, Metrics};
#[cfg(feature = "trace")]
use crate::trace::{MessageEvents, Propagator, SpanErrors, Tracing};
use crate::{
    ClientAttemptLayer, ClientCallLayer, ClientLayer, Methods, ServerLayer, names::Semconv, target::Target,
};

/// Decides by `package.Service/Method`.
type Filter = Box<dyn Fn(&str) -> bool + Send + Sync>;

/// Makes layers that record the calls of servers and channels.
///
/// Cheap to clone. Everything is passed in: the global providers are never used, as A66 asks.
#[derive(Clone)]
pub struct GrpcOtel {
    pub(crate) shared: Arc<Shared>,
}

/// What all layers of one [`GrpcOtel`] use.
#[derive(Default)]
pub(crate) struct Shared {
    pub(crate) semconv: Semconv,
    pub(crate) filter: Option<Filter>,
    #[cfg(feature = "metrics")]
    pub(crate) metrics: Metrics,
    #[cfg(feature = "trace")]
    pub(crate) tracing: Tracing,
}

impl Shared {
    /// Whether calls of this method are recorded.
    pub(crate) fn records(&self, method: &str) -> bool {
        self.enabled() && self.filter.as_ref().is_none_or(|filter| filter(method))
    }

    /// Whether anything is recorded or handed on at all.
    pub(crate) fn enabled(&self) -> bool {
        #[cfg(feature = "metrics")]
        let metrics = self.metrics.meter.is_some();
        #[cfg(not(feature = "metrics"))]
        let metrics = false;
        #[cfg(feature = "trace")]
        let trace = self.tracing.enabled();
        #[cfg(not(feature = "trace"))]
        let trace = false;
        metrics || trace
    }
}

impl GrpcOtel {
    /// Nothing is recorded until a provider is given.
    pub fn builder() -> Builder {
        Builder(Shared::default())
    }

    /// A layer for a server that serves `methods`. It goes outside of all layers whose answers
    /// are to be counted: authentication, limits, time limits.
    #[must_use]
    pub fn server_layer(&self, methods: Methods) -> ServerLayer {
        ServerLayer::new(&self.shared, methods)
    }

    /// A layer for a channel without retries, where every call is one attempt.
    ///
    /// `target` is what the channel connects to: `dns:///host:port`, `host:port`, or the URI
    /// given to tonic's `Endpoint`.
    #[must_use]
    pub fn client_layer(&self, target: &str) -> ClientLayer {
        ClientLayer::new(&self.shared, Target::new(target))
    }

    /// With [`GrpcOtel::client_attempt_layer`] inside, the layer that goes outside of retries and
    /// sees calls as the application does.
    #[must_use]
    pub fn client_call_layer(&self, target: &str) -> ClientCallLayer {
        ClientCallLayer::new(&self.shared, Target::new(target))
    }

    /// The layer that goes inside of retries, next to the channel, and sees every attempt.
    #[must_use]
    pub fn client_attempt_layer(&self, target: &str) -> ClientAttemptLayer {
        ClientAttemptLayer::new(&self.shared, Target::new(target))
    }
}

/// Builds a [`GrpcOtel`].
#[must_use]
pub struct Builder(Shared);

impl Builder {
    /// Where metrics go. Without one none are recorded.
    #[cfg(feature = "metrics")]
    pub fn meter_provider<P: MeterProvider + ?Sized + 'static>(mut self, provider: &P) -> Self {
        self.0.metrics.meter = (TypeId::of::<P>() != TypeId::of::<NoopMeterProvider>())
            .then(|| provider.meter_with_scope(scope()));
        self
    }

    /// Where spans go. Without one none are made.
    #[cfg(feature = "trace")]
    pub fn tracer_provider<P>(mut self, provider: &P) -> Self
    where
        P: TracerProvider + 'static,
        P::Tracer: Send + Sync + 'static,
        <P::Tracer as Tracer>::Span: Send + Sync + 'static,
    {
        self.0.tracing.tracer = None;
        if TypeId::of::<P>() != TypeId::of::<NoopTracerProvider>() {
            self.0.tracing.tracer = Some(Box::new(provider.tracer_with_scope(scope())));
        }
        self
    }

    /// How the trace context and baggage travel in metadata: usually `TraceContextPropagator`,
    /// with `BaggagePropagator` in a `TextMapCompositePropagator`. Without one nothing is read or
    /// sent. It is asked only about requests with one of its `fields()` among their headers.
    #[cfg(feature = "trace")]
    pub fn propagator(mut self, propagator: impl TextMapPropagator + Send + Sync + 'static) -> Self {
        self.0.tracing.propagator = Some(Propagator::new(propagator));
        self
    }

    /// Which messages of a recorded call become events of its span. By default the first 16 of
    /// each direction, then ever fewer.
    #[cfg(feature = "trace")]
    pub fn message_events(mut self, events: MessageEvents) -> Self {
        self.0.tracing.events = events;
        self
    }

    /// Which codes make a server's span an error. By default all but OK, as in A72.
    #[cfg(feature = "trace")]
    pub fn server_span_errors(mut self, errors: SpanErrors) -> Self {
        self.0.tracing.server_errors = errors;
        self
    }

    /// How a server's spans learn the peer's address. By default from tonic's `TcpConnectInfo`
    /// (feature `transport`), which is there under TLS too.
    #[cfg(feature = "trace")]
    pub fn peer_address(mut self, peer: fn(&http::Extensions) -> Option<std::net::SocketAddr>) -> Self {
        self.0.tracing.peer = peer;
        self
    }

    /// Also enters a span of the `tracing` crate around every handler of a server, with the fields
    /// `rpc.method`, `trace_id` and `span_id`, so that formatted log lines name the trace. It costs
    /// more than the OpenTelemetry span itself; a subscriber that reads the ids from the current
    /// OpenTelemetry context does without it.
    #[cfg(feature = "tracing")]
    pub fn tracing_spans(mut self, enter: bool) -> Self {
        self.0.tracing.bridge = enter;
        self
    }

    /// Which methods are recorded: those this says `true` of. All are by default. It is asked once for each
    /// `package.Service/Method`, and once for `other`, which stands for all that are not registered. Calls of the rest
    /// pass untouched: no metrics, no spans, and no trace context.
    ///
    /// ```
    /// # use grpc_otel::GrpcOtel;
    /// GrpcOtel::builder().filter(|method| !method.starts_with("grpc.health.v1.Health/"));
    /// ```
    pub fn filter(mut self, records: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        self.0.filter = Some(Box::new(records));
        self
    }

    /// Which version of OpenTelemetry's conventions names the attributes: the released one by default.
    pub fn semconv(mut self, semconv: Semconv) -> Self {
        self.0.semconv = semconv;
        self
    }

    /// The kind of the spans of attempts: INTERNAL by default, as in all other implementations of A72, so that a call has
    /// one CLIENT span. With CLIENT the server's span has a parent of that kind, which service graphs pair by.
    #[cfg(feature = "trace")]
    pub fn attempt_span_kind(mut self, kind: SpanKind) -> Self {
        self.0.tracing.attempt_kind = kind;
        self
    }

    /// Whether callers are strangers to a server: its spans then begin traces of their own, with a link to the caller's
    /// span in place of a parent, so that nobody outside decides what is sampled. Their baggage is not read.
    #[cfg(feature = "trace")]
    pub fn public_endpoint(self, public: bool) -> Self {
        self.public_endpoint_if(move |_, _| public)
    }

    /// The same, decided for each request by its headers and extensions.
    #[cfg(feature = "trace")]
    pub fn public_endpoint_if(
        mut self,
        public: impl Fn(&http::HeaderMap, &http::Extensions) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.0.tracing.public = Some(Box::new(public));
        self
    }

    /// Under which names durations of calls are recorded: A66's by default.
    #[cfg(feature = "metrics")]
    pub fn duration_metrics(mut self, metrics: DurationMetrics) -> Self {
        self.0.metrics.duration = metrics;
        self
    }

    /// Also records the experimental instruments of gRFC A96 at the call layer: retries,
    /// transparent retries, hedges and the delay between attempts.
    #[cfg(feature = "metrics")]
    pub fn retry_metrics(mut self, record: bool) -> Self {
        self.0.metrics.retries = record;
        self
    }

    /// The finished thing.
    #[must_use]
    pub fn build(self) -> GrpcOtel {
        // The clock calibrates itself when it is first read, which should not be in a call.
        #[cfg(feature = "tsc")]
        crate::clock::Instant::now();
        GrpcOtel { shared: Arc::new(self.0) }
    }
}

/// The meter and tracer are named after the library (A66).
fn scope() -> InstrumentationScope {
    InstrumentationScope::builder(env!("CARGO_PKG_NAME")).with_version(env!("CARGO_PKG_VERSION")).build()
}
