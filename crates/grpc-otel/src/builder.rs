//! Where telemetry goes, and how much of it.

use std::{any::TypeId, sync::Arc};

use http::{Extensions, HeaderMap};
#[cfg(feature = "metrics")]
use opentelemetry::metrics::{Meter, MeterProvider, noop::NoopMeterProvider};
use opentelemetry::{InstrumentationScope, KeyValue};
#[cfg(feature = "trace")]
use opentelemetry::{
    propagation::TextMapPropagator,
    trace::{SpanKind, Tracer, TracerProvider, noop::NoopTracerProvider},
};

#[cfg(feature = "metrics")]
use crate::metrics::DurationMetrics;
#[cfg(feature = "trace")]
use crate::trace::{MessageEvents, Metadata, Propagator, SpanStatus, StartSpan};
use crate::{
    client::{ClientAttemptLayer, ClientCallLayer, ClientLayer},
    methods::Methods,
    names::Semconv,
    server::ServerLayer,
    shared::Shared,
    target::Target,
};

/// Makes layers that record the calls of servers and channels.
///
/// Cheap to clone. Everything is passed in: the global providers are never used, as A66 asks.
#[derive(Clone)]
pub struct GrpcOtel {
    shared: Arc<Shared>,
}

impl GrpcOtel {
    /// Nothing is recorded until a provider is given.
    pub fn builder() -> Builder {
        Builder::default()
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
#[derive(Default)]
#[must_use]
pub struct Builder {
    shared: Shared,
    /// Of each version of the conventions, as the scope names their schema.
    #[cfg(feature = "metrics")]
    meters: Option<ByVersion<Meter>>,
    #[cfg(feature = "trace")]
    tracers: Option<ByVersion<Box<dyn StartSpan>>>,
}

struct ByVersion<T> {
    released: T,
    next: T,
}

impl<T> ByVersion<T> {
    fn new(make: impl Fn(InstrumentationScope) -> T) -> Self {
        Self { released: make(scope(Semconv::Released)), next: make(scope(Semconv::Next)) }
    }

    fn of(self, version: Semconv) -> T {
        match version {
            Semconv::Released => self.released,
            Semconv::Next => self.next,
        }
    }
}

/// The meter and tracer are named after the library (A66).
fn scope(version: Semconv) -> InstrumentationScope {
    let scope = InstrumentationScope::builder(env!("CARGO_PKG_NAME")).with_version(env!("CARGO_PKG_VERSION"));
    match version.schema_url() {
        Some(schema) => scope.with_schema_url(schema).build(),
        None => scope.build(),
    }
}

impl Builder {
    /// Where metrics go. Without one none are recorded.
    #[cfg(feature = "metrics")]
    pub fn meter_provider<P: MeterProvider + ?Sized + 'static>(mut self, provider: &P) -> Self {
        self.meters = (TypeId::of::<P>() != TypeId::of::<NoopMeterProvider>())
            .then(|| ByVersion::new(|scope| provider.meter_with_scope(scope)));
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
        self.tracers = (TypeId::of::<P>() != TypeId::of::<NoopTracerProvider>()).then(|| {
            ByVersion::new(|scope| Box::new(provider.tracer_with_scope(scope)) as Box<dyn StartSpan>)
        });
        self
    }

    /// How the trace context and baggage travel in metadata: usually `TraceContextPropagator`,
    /// with `BaggagePropagator` in a `TextMapCompositePropagator`. Without one nothing is read or
    /// sent. It is asked only about requests with one of its `fields()` among their headers.
    #[cfg(feature = "trace")]
    pub fn propagator(mut self, propagator: impl TextMapPropagator + Send + Sync + 'static) -> Self {
        self.shared.tracing.propagator = Some(Propagator::new(propagator));
        self
    }

    /// Which messages of a recorded call become events of its span. By default the first 16 of
    /// each direction, then ever fewer.
    #[cfg(feature = "trace")]
    pub fn message_events(mut self, events: MessageEvents) -> Self {
        self.shared.tracing.events = events;
        self
    }

    /// What the status of spans says. By default what A72 wants.
    #[cfg(feature = "trace")]
    pub fn span_status(mut self, status: SpanStatus) -> Self {
        self.shared.tracing.status = status;
        self
    }

    /// Attributes that the spans of servers' and clients' calls have besides, made of the headers and extensions of the
    /// request. What callers choose should be cut, or it fills the memory of the back end.
    #[cfg(feature = "trace")]
    pub fn span_attributes(
        mut self,
        attributes: impl Fn(&HeaderMap, &Extensions) -> Vec<KeyValue> + Send + Sync + 'static,
    ) -> Self {
        self.shared.tracing.attributes = Some(Box::new(attributes));
        self
    }

    /// Which metadata of requests the spans of servers' and clients' calls show, as `rpc.request.metadata.NAME`: of each
    /// of these names the first 8 values, and of each value the first 256 bytes. None by default, as metadata holds
    /// tokens.
    #[cfg(feature = "trace")]
    pub fn metadata<'a>(mut self, names: impl IntoIterator<Item = &'a str>) -> Self {
        self.shared.tracing.metadata = Metadata::new(names);
        self
    }

    /// Whether samplers see the attributes that are known when a span begins, as the conventions want. They then have to
    /// be made for spans that are not sampled, too, so the default is that samplers see the name, which holds the method,
    /// and the kind.
    #[cfg(feature = "trace")]
    pub fn sampler_attributes(mut self, visible: bool) -> Self {
        self.shared.tracing.for_sampler = visible;
        self
    }

    /// How a server's spans learn the peer's address. By default from tonic's `TcpConnectInfo`
    /// (feature `transport`), which is there under TLS too.
    #[cfg(feature = "trace")]
    pub fn peer_address(mut self, peer: fn(&Extensions) -> Option<std::net::SocketAddr>) -> Self {
        self.shared.tracing.peer = peer;
        self
    }

    /// Also enters a span of the `tracing` crate around every handler of a server, with the fields
    /// `rpc.method`, `trace_id` and `span_id`, so that formatted log lines name the trace. It costs
    /// about as much as the OpenTelemetry span itself; a subscriber that reads the ids from the current
    /// OpenTelemetry context does without it.
    #[cfg(feature = "tracing")]
    pub fn tracing_spans(mut self, enter: bool) -> Self {
        self.shared.tracing.bridge = enter;
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
        self.shared.filter = Some(Box::new(records));
        self
    }

    /// Which methods of clients are named that do not come from generated code, by `package.Service/Method`; all others
    /// are `other`. It must bound what it accepts. The counterpart of `SetGenericMethodAttributeFilter` in A66, which for
    /// servers is [`Methods::and_unregistered`].
    pub fn client_methods(mut self, accept: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        self.shared.client_methods = Some(Box::new(accept));
        self
    }

    /// Which version of OpenTelemetry's conventions names the attributes: the released one by default.
    pub fn semconv(mut self, semconv: Semconv) -> Self {
        self.shared.semconv = semconv;
        self
    }

    /// The kind of the spans of attempts: INTERNAL by default, as in all other implementations of A72, so that a call has
    /// one CLIENT span. With CLIENT the server's span has a parent of that kind, which service graphs pair by.
    #[cfg(feature = "trace")]
    pub fn attempt_span_kind(mut self, kind: SpanKind) -> Self {
        self.shared.tracing.attempt_kind = kind;
        self
    }

    /// Whether a server's callers are not trusted: its spans then begin traces of their own, with a link to the caller's
    /// span in place of a parent, so that nobody outside decides what is sampled. Their baggage is not read.
    #[cfg(feature = "trace")]
    pub fn public_endpoint(self, public: bool) -> Self {
        self.public_endpoint_if(move |_, _| public)
    }

    /// The same, decided for each request by its headers and extensions.
    #[cfg(feature = "trace")]
    pub fn public_endpoint_if(
        mut self,
        public: impl Fn(&HeaderMap, &Extensions) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.shared.tracing.untrusted = Some(Box::new(public));
        self
    }

    /// Under which names durations of calls are recorded: A66's by default.
    #[cfg(feature = "metrics")]
    pub fn duration_metrics(mut self, metrics: DurationMetrics) -> Self {
        self.shared.metrics.selection.duration = metrics;
        self
    }

    /// Also records the experimental instruments of gRFC A96 at the call layer: retries,
    /// transparent retries, hedges and the delay between attempts.
    #[cfg(feature = "metrics")]
    pub fn retry_metrics(mut self, record: bool) -> Self {
        self.shared.metrics.selection.retries = record;
        self
    }

    /// Also records the experimental instruments of gRFC A121: how long calls and attempts wait in the client's channel, as
    /// channels report by [`Attempt::delay`](crate::Attempt::delay).
    #[cfg(feature = "metrics")]
    pub fn delay_metrics(mut self, record: bool) -> Self {
        self.shared.metrics.selection.delays = record;
        self
    }

    /// Which instruments are recorded, of those that are on by default or by another option: those this says `true` of.
    ///
    /// ```
    /// # use grpc_otel::GrpcOtel;
    /// GrpcOtel::builder().instruments(|name| !name.ends_with("_total_compressed_message_size"));
    /// ```
    #[cfg(feature = "metrics")]
    pub fn instruments(mut self, record: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        self.shared.metrics.selection.filter = Some(Box::new(record));
        self
    }

    /// Attributes that the metrics of a call have besides, made of the headers and extensions of its request: a tenant, or
    /// `grpc.client.call.custom` (gRFC A108). Every combination of values is a series: keep them few. A call with such
    /// attributes costs more, as its series have to be looked up.
    #[cfg(feature = "metrics")]
    pub fn metric_attributes(
        mut self,
        attributes: impl Fn(&HeaderMap, &Extensions) -> Vec<KeyValue> + Send + Sync + 'static,
    ) -> Self {
        self.shared.metrics.labels = Some(Box::new(attributes));
        self
    }

    /// Which targets the metrics of clients name; all others are `other` (gRFC A109). For programs that connect to many.
    #[cfg(feature = "metrics")]
    pub fn targets(mut self, named: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        self.shared.metrics.targets = Some(Box::new(named));
        self
    }

    /// The finished thing.
    #[must_use]
    pub fn build(self) -> GrpcOtel {
        // The clock calibrates itself when it is first read, which should not be in a call.
        #[cfg(feature = "tsc")]
        crate::clock::Instant::now();
        let mut shared = self.shared;
        #[cfg(feature = "metrics")]
        {
            shared.metrics.meter = self.meters.map(|meters| meters.of(shared.semconv));
        }
        #[cfg(feature = "trace")]
        {
            shared.tracing.tracer = self.tracers.map(|tracers| tracers.of(shared.semconv));
        }
        GrpcOtel { shared: Arc::new(shared) }
    }
}
