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
    /// Returns a builder. Nothing is recorded until it is given a provider.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Creates a layer for a server that serves `methods`.
    ///
    /// It goes outside of all layers whose responses are to be counted: authentication, limits, time limits.
    #[must_use]
    pub fn server_layer(&self, methods: Methods) -> ServerLayer {
        ServerLayer::new(&self.shared, methods)
    }

    /// Creates a layer for a channel without retries, where every call is one attempt.
    ///
    /// `target` is what the channel connects to: `dns:///host:port`, `host:port`, or the URI
    /// given to tonic's `Endpoint`.
    #[must_use]
    pub fn client_layer(&self, target: &str) -> ClientLayer {
        ClientLayer::new(&self.shared, Target::new(target))
    }

    /// Creates the layer that goes outside of retries and sees calls as the application does.
    ///
    /// It is used with [`GrpcOtel::client_attempt_layer`] inside of the retries.
    #[must_use]
    pub fn client_call_layer(&self, target: &str) -> ClientCallLayer {
        ClientCallLayer::new(&self.shared, Target::new(target))
    }

    /// Creates the layer that goes inside of retries, next to the channel, and sees every attempt.
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

/// Names the meter and the tracer after the library (A66).
fn scope(version: Semconv) -> InstrumentationScope {
    let scope = InstrumentationScope::builder(env!("CARGO_PKG_NAME")).with_version(env!("CARGO_PKG_VERSION"));
    match version.schema_url() {
        Some(schema) => scope.with_schema_url(schema).build(),
        None => scope.build(),
    }
}

impl Builder {
    /// Sets the provider of meters. Without one, no metrics are recorded.
    #[cfg(feature = "metrics")]
    pub fn meter_provider<P: MeterProvider + ?Sized + 'static>(mut self, provider: &P) -> Self {
        self.meters = (TypeId::of::<P>() != TypeId::of::<NoopMeterProvider>())
            .then(|| ByVersion::new(|scope| provider.meter_with_scope(scope)));
        self
    }

    /// Sets the provider of tracers. Without one, no spans are created.
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

    /// Sets how the trace context and baggage travel in metadata.
    ///
    /// This is usually `TraceContextPropagator`, with `BaggagePropagator` in a `TextMapCompositePropagator`. Without a
    /// propagator nothing is read or sent. It reads only requests with one of its `fields()` among their headers.
    #[cfg(feature = "trace")]
    pub fn propagator(mut self, propagator: impl TextMapPropagator + Send + Sync + 'static) -> Self {
        self.shared.tracing.propagator = Some(Propagator::new(propagator));
        self
    }

    /// Selects the messages of a recorded call that become events of its span. By default these are the first 16 of
    /// each direction, then ever fewer.
    #[cfg(feature = "trace")]
    pub fn message_events(mut self, events: MessageEvents) -> Self {
        self.shared.tracing.events = events;
        self
    }

    /// Sets what the status of spans says. By default it is what A72 requires.
    #[cfg(feature = "trace")]
    pub fn span_status(mut self, status: SpanStatus) -> Self {
        self.shared.tracing.status = status;
        self
    }

    /// Adds attributes to the spans of servers' and clients' calls, made of the headers and extensions of the request.
    ///
    /// Truncate values that callers choose, or they fill the memory of the back end.
    #[cfg(feature = "trace")]
    pub fn span_attributes(
        mut self,
        attributes: impl Fn(&HeaderMap, &Extensions) -> Vec<KeyValue> + Send + Sync + 'static,
    ) -> Self {
        self.shared.tracing.attributes = Some(Box::new(attributes));
        self
    }

    /// Selects metadata of requests that the spans of servers' and clients' calls show, as `rpc.request.metadata.NAME`.
    ///
    /// Of each of these names the first 8 values are recorded, and of each value the first 256 bytes. By default there
    /// are none, as metadata holds tokens.
    #[cfg(feature = "trace")]
    pub fn metadata<'a>(mut self, names: impl IntoIterator<Item = &'a str>) -> Self {
        self.shared.tracing.metadata = Metadata::new(names);
        self
    }

    /// Sets whether samplers see the attributes that are known when a span begins, as the conventions require.
    ///
    /// The attributes are then made for spans that are not sampled, too. By default samplers see the name, which holds
    /// the method, and the kind.
    #[cfg(feature = "trace")]
    pub fn sampler_attributes(mut self, visible: bool) -> Self {
        self.shared.tracing.for_sampler = visible;
        self
    }

    /// Sets how a server's spans learn the peer's address. By default it comes from tonic's `TcpConnectInfo` (feature
    /// `transport`), which is there under TLS too.
    #[cfg(feature = "trace")]
    pub fn peer_address(mut self, peer: fn(&Extensions) -> Option<std::net::SocketAddr>) -> Self {
        self.shared.tracing.peer = peer;
        self
    }

    /// Enters a span of the `tracing` crate around every handler of a server, in addition to the OpenTelemetry span.
    ///
    /// It has the fields `rpc.method`, `trace_id` and `span_id`, so that formatted log lines name the trace. It costs
    /// about as much as the OpenTelemetry span itself; a subscriber that reads the ids from the current OpenTelemetry
    /// context does without it.
    #[cfg(feature = "tracing")]
    pub fn tracing_spans(mut self, enter: bool) -> Self {
        self.shared.tracing.bridge = enter;
        self
    }

    /// Selects the methods that are recorded: those for which `records` returns true. By default all are.
    ///
    /// It is called once for each `package.Service/Method`, and once for `other`, which stands for all that are not
    /// registered. Calls of the rest pass untouched: no metrics, no spans, and no trace context.
    ///
    /// ```
    /// # use grpc_otel::GrpcOtel;
    /// GrpcOtel::builder().filter(|method| !method.starts_with("grpc.health.v1.Health/"));
    /// ```
    pub fn filter(mut self, records: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        self.shared.filter = Some(Box::new(records));
        self
    }

    /// Selects which methods of clients are named although they do not come from generated code, by
    /// `package.Service/Method`; all others are `other`.
    ///
    /// `accept` must bound what it accepts. It is the counterpart of `SetGenericMethodAttributeFilter` in A66, which
    /// for servers is [`Methods::and_unregistered`].
    pub fn client_methods(mut self, accept: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        self.shared.client_methods = Some(Box::new(accept));
        self
    }

    /// Sets which version of OpenTelemetry's conventions names the attributes: by default the released one.
    pub fn semconv(mut self, semconv: Semconv) -> Self {
        self.shared.semconv = semconv;
        self
    }

    /// Sets the kind of the spans of attempts.
    ///
    /// It is INTERNAL by default, as in all other implementations of A72, so that a call has one CLIENT span. With
    /// CLIENT the server's span has a parent of that kind, which service graphs pair by.
    #[cfg(feature = "trace")]
    pub fn attempt_span_kind(mut self, kind: SpanKind) -> Self {
        self.shared.tracing.attempt_kind = kind;
        self
    }

    /// Sets whether a server's callers are not trusted.
    ///
    /// Spans for untrusted callers begin traces of their own, with a link to the caller's span in place of a parent, so
    /// that nobody outside decides what is sampled. Their baggage is not read.
    #[cfg(feature = "trace")]
    pub fn public_endpoint(self, public: bool) -> Self {
        self.public_endpoint_if(move |_, _| public)
    }

    /// Decides for each request, by its headers and extensions, whether its caller is not trusted, as
    /// [`public_endpoint`](Self::public_endpoint) does for all.
    #[cfg(feature = "trace")]
    pub fn public_endpoint_if(
        mut self,
        public: impl Fn(&HeaderMap, &Extensions) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.shared.tracing.untrusted = Some(Box::new(public));
        self
    }

    /// Sets the names under which durations of calls are recorded, in seconds: by default A66's.
    #[cfg(feature = "metrics")]
    pub fn duration_metrics(mut self, metrics: DurationMetrics) -> Self {
        self.shared.metrics.selection.duration = metrics;
        self
    }

    /// Enables the experimental instruments of gRFC A96 at the call layer: retries, transparent retries, hedges and the
    /// delay between attempts in seconds.
    #[cfg(feature = "metrics")]
    pub fn retry_metrics(mut self, record: bool) -> Self {
        self.shared.metrics.selection.retries = record;
        self
    }

    /// Enables the experimental instruments of gRFC A121: how long calls and attempts wait in the client's channel, in
    /// seconds, as channels report by [`Attempt::delay`](crate::Attempt::delay).
    #[cfg(feature = "metrics")]
    pub fn delay_metrics(mut self, record: bool) -> Self {
        self.shared.metrics.selection.delays = record;
        self
    }

    /// Selects, of the instruments that are on by default or by another option, those for whose name `record` returns
    /// true.
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

    /// Adds attributes to the metrics of a call, made of the headers and extensions of its request: a tenant, or
    /// `grpc.client.call.custom` (gRFC A108).
    ///
    /// Every combination of values is a series: keep them few. A call with such attributes costs more, as its series
    /// have to be looked up.
    #[cfg(feature = "metrics")]
    pub fn metric_attributes(
        mut self,
        attributes: impl Fn(&HeaderMap, &Extensions) -> Vec<KeyValue> + Send + Sync + 'static,
    ) -> Self {
        self.shared.metrics.labels = Some(Box::new(attributes));
        self
    }

    /// Selects the targets that the metrics of clients name; all others are `other` (gRFC A109). This is for programs
    /// that connect to many.
    #[cfg(feature = "metrics")]
    pub fn targets(mut self, named: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        self.shared.metrics.targets = Some(Box::new(named));
        self
    }

    /// Builds the [`GrpcOtel`].
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
