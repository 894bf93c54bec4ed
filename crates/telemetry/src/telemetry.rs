//! The three providers: built from the environment, shut down within a limit.

use std::{fmt, mem, thread, time::Duration};

use kelvin_app::{SettingsError, TlsFiles};
use opentelemetry::{global, metrics::MeterProvider, propagation::TextMapCompositePropagator};
use opentelemetry_sdk::{
    Resource,
    error::{OTelSdkError, OTelSdkResult},
    logs::SdkLoggerProvider,
    metrics::{MeterProviderBuilder, PeriodicReader, SdkMeterProvider, exporter::PushMetricExporter},
    trace::{Sampler, SdkTracerProvider, SpanProcessor, TracerProviderBuilder},
};
use tokio::{sync::oneshot, time::timeout};
use tracing::subscriber::DefaultGuard;

use crate::{
    TelemetryError,
    console::{self, Console},
    destination::{Destination, destinations},
    environment::{Environment, Signal},
    exporter::Transports,
    logs, process, processors,
    prometheus::Prometheus,
    propagation,
    resource::resource,
    tls::{CurrentTls, LoadTls},
    variables::{self, Warning},
};

const SAMPLER: &str = "OTEL_TRACES_SAMPLER";

/// Traces, metrics and logs of one service. Exporting stops when it is dropped.
pub struct Telemetry {
    /// None where no span would be exported.
    traces: Option<SdkTracerProvider>,
    metrics: SdkMeterProvider,
    measured: bool,
    logs: SdkLoggerProvider,
    prometheus: Option<Prometheus>,
    environment: Environment,
    _transports: Option<Transports>,
}

/// What [`Telemetry`] is built from, besides the environment.
#[expect(clippy::struct_excessive_bools, reason = "independent of each other, each set by its own method")]
pub struct Builder {
    service: &'static str,
    version: &'static str,
    environment: Environment,
    load_tls: Option<LoadTls>,
    sampler: Option<Sampler>,
    traces: TracerProviderBuilder,
    traced: bool,
    metrics: MeterProviderBuilder,
    measured: bool,
    prometheus: bool,
    with_logs: bool,
    init_logs: bool,
    warns: bool,
}

impl Telemetry {
    /// Returns a builder for `service` (`service.name` unless the environment says otherwise) at `version`.
    #[must_use]
    pub fn builder(service: &'static str, version: &'static str) -> Builder {
        Builder {
            service,
            version,
            environment: Environment::from_process(),
            load_tls: None,
            sampler: None,
            traces: SdkTracerProvider::builder(),
            traced: false,
            metrics: SdkMeterProvider::builder(),
            measured: false,
            prometheus: false,
            with_logs: true,
            init_logs: false,
            warns: false,
        }
    }

    /// Returns the provider of tracers. There is none where nothing exports spans: the SDK would record them all the
    /// same, and callers would send a sampled context of a trace that nobody ever sees.
    #[must_use]
    pub fn tracer_provider(&self) -> Option<SdkTracerProvider> {
        self.traces.clone()
    }

    /// Returns the provider of meters.
    #[must_use]
    pub fn meter_provider(&self) -> SdkMeterProvider {
        self.metrics.clone()
    }

    /// Returns whether anything reads the metrics.
    #[must_use]
    pub fn exports_metrics(&self) -> bool {
        self.measured
    }

    /// Returns what puts the context of a trace into metadata and reads it from there (`OTEL_PROPAGATORS`).
    #[must_use]
    pub fn propagator(&self) -> TextMapCompositePropagator {
        propagation::propagator(&self.environment)
    }

    /// Returns the metrics for scraping, if [`Builder::prometheus`] asked for them.
    #[must_use]
    pub fn prometheus(&self) -> Option<Prometheus> {
        self.prometheus.clone()
    }

    /// Exports what is left, all three signals at a time, and takes no longer than `limit` whatever the
    /// collector does.
    pub async fn shutdown(&self, limit: Duration) {
        let (traces, metrics, logs) = (self.traces.clone(), self.metrics.clone(), self.logs.clone());
        let traces = on_thread(move || traces.map_or(Ok(()), |traces| traces.shutdown_with_timeout(limit)));
        let metrics = on_thread(move || metrics.shutdown_with_timeout(limit));
        let logs = on_thread(move || logs.shutdown_with_timeout(limit));
        let all = timeout(limit, async { [traces.await, metrics.await, logs.await] }).await;
        let Ok(results) = all else {
            tracing::warn!(?limit, "telemetry not fully exported in time");
            return;
        };
        for error in results.into_iter().flatten().filter_map(Result::err) {
            if !matches!(error, OTelSdkError::AlreadyShutdown) {
                tracing::warn!(%error, "telemetry not fully exported");
            }
        }
    }
}

/// The SDK's shutdown blocks, and a blocking task of a runtime could keep that from ending.
fn on_thread(shutdown: impl FnOnce() -> OTelSdkResult + Send + 'static) -> oneshot::Receiver<OTelSdkResult> {
    let (sender, receiver) = oneshot::channel();
    thread::spawn(move || sender.send(shutdown()));
    receiver
}

impl Builder {
    /// Sets an `OTEL_*` variable in place of the process's environment.
    #[must_use]
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.environment.set(name, value);
        self
    }

    /// Loads the certificates for collectors with an `https` endpoint. `load` is called by [`build`](Self::build) for each
    /// set of files that the environment names, and what it returns at each new connection. Without it such an endpoint is
    /// an error.
    #[must_use]
    pub fn tls(mut self, load: impl Fn(&TlsFiles) -> Result<CurrentTls, SettingsError> + 'static) -> Self {
        self.load_tls = Some(Box::new(load));
        self
    }

    /// Decides which traces are taken, whatever `OTEL_TRACES_SAMPLER` says.
    #[must_use]
    pub fn sampler(mut self, sampler: Sampler) -> Self {
        self.sampler = Some(sampler);
        self
    }

    /// Adds a processor of spans, which makes spans recorded even where none are exported.
    #[must_use]
    pub fn span_processor(mut self, processor: impl SpanProcessor + 'static) -> Self {
        self.traces = self.traces.with_span_processor(processor);
        self.traced = true;
        self
    }

    /// Adds a reader of metrics.
    #[must_use]
    pub fn metric_reader<E: PushMetricExporter>(mut self, reader: PeriodicReader<E>) -> Self {
        self.metrics = self.metrics.with_reader(reader);
        self.measured = true;
        self
    }

    /// Sets whether logs are exported, if there is an endpoint for them; by default they are.
    #[must_use]
    pub fn with_logs(mut self, with_logs: bool) -> Self {
        self.with_logs = with_logs;
        self
    }

    /// Offers the metrics for scraping, unless `OTEL_SDK_DISABLED` is true.
    #[must_use]
    pub fn prometheus(mut self, prometheus: bool) -> Self {
        self.prometheus = prometheus;
        self
    }

    /// Makes log lines go to stdout and to the collector: JSON, or text on a terminal, with the ids of the current
    /// trace and span, at the levels of `RUST_LOG`. Panics become log lines. What is set up is global, and the
    /// first one in a process stands.
    #[must_use]
    pub fn init_logs(mut self) -> Self {
        self.init_logs = true;
        self.with_warnings()
    }

    /// Logs a warning for each variable that has no effect and each value that is ignored. [`init_logs`](Self::init_logs)
    /// includes this; a program with logs of its own asks for it once.
    #[must_use]
    pub fn with_warnings(mut self) -> Self {
        self.warns = true;
        self
    }

    /// Builds the providers and connects exporters to what the environment names. Nothing is sent yet and nothing
    /// waits for a collector. The SDK's metrics on itself (`otel.sdk.*`) go to the meter provider built last.
    pub fn build(mut self) -> Result<Telemetry, TelemetryError> {
        let wanted = |signal| signal != Signal::Logs || self.with_logs;
        let destinations = destinations(&self.environment, wanted, self.load_tls.as_ref())?;
        let exporting = destinations.iter().any(Option::is_some);
        let transports = exporting.then(Transports::start).transpose()?;
        let [spans_to, metrics_to, logs_to] = destinations;
        let resource = resource(self.service, self.version, &self.environment);
        if Signal::ALL.into_iter().any(|signal| self.environment.console(signal)) {
            let _ = console::print_resource(&resource);
        }

        let measured = metrics_to.is_some() || self.measured();
        let printing = self.init_logs.then(|| logs::before_init(measured));
        let (metrics, prometheus) = self.metrics(metrics_to.as_ref().zip(transports.as_ref()), &resource)?;
        // Processors of spans and logs take their meter when they are made.
        global::set_meter_provider(metrics.clone());
        let logs = self.logs(logs_to.as_ref().zip(transports.as_ref()), &resource, measured, printing)?;
        process::observe(&metrics.meter("kelvin-telemetry"));
        let traces = self.traces(spans_to.as_ref().zip(transports.as_ref()), resource)?;
        let environment = self.environment;
        Ok(Telemetry { traces, metrics, measured, logs, prometheus, environment, _transports: transports })
    }

    fn logs(
        &self,
        export: Option<(&Destination, &Transports)>,
        resource: &Resource,
        measured: bool,
        printing: Option<DefaultGuard>,
    ) -> Result<SdkLoggerProvider, TelemetryError> {
        let console = self.with_logs && self.environment.console(Signal::Logs);
        let mut logs = SdkLoggerProvider::builder().with_resource(resource.clone());
        if let Some((destination, transports)) = export {
            let exporter = transports.logs(destination)?;
            logs = logs.with_log_processor(processors::logs(&self.environment, exporter));
        }
        if console {
            logs = logs.with_log_processor(processors::logs(&self.environment, Console));
        }
        let logs = logs.build();
        if self.init_logs {
            drop(printing);
            logs::init((export.is_some() || console).then_some(&logs), measured);
        }
        if self.warns {
            self.warn();
        }
        Ok(logs)
    }

    fn warn(&self) {
        for Warning { variable, value, problem } in variables::warnings(&self.environment) {
            tracing::warn!(variable, value = value.as_deref(), "{variable}: {problem}");
        }
        if self.sampler.is_some() && self.environment.get(SAMPLER).is_some() {
            tracing::warn!(
                variable = SAMPLER,
                "{SAMPLER}: has no effect: this program chooses the sampler itself"
            );
        }
    }

    fn scraped(&self) -> bool {
        self.prometheus && !self.environment.disabled()
    }

    /// Whether anything but OTLP reads metrics.
    fn measured(&self) -> bool {
        self.measured || self.scraped() || self.environment.console(Signal::Metrics)
    }

    fn metrics(
        &mut self,
        export: Option<(&Destination, &Transports)>,
        resource: &Resource,
    ) -> Result<(SdkMeterProvider, Option<Prometheus>), TelemetryError> {
        let mut metrics = mem::take(&mut self.metrics).with_resource(resource.clone());
        if let Some((destination, transports)) = export {
            let exporter = transports.metrics(destination, self.environment.temporality())?;
            metrics = metrics.with_reader(processors::metrics(&self.environment, exporter));
        }
        if self.environment.console(Signal::Metrics) {
            metrics = metrics.with_reader(processors::metrics(&self.environment, Console));
        }
        let mut prometheus = None;
        if self.scraped() {
            let (registry, reader) = Prometheus::new().map_err(TelemetryError::Prometheus)?;
            metrics = metrics.with_reader(reader);
            prometheus = Some(registry);
        }
        Ok((metrics.build(), prometheus))
    }

    fn traces(
        &mut self,
        export: Option<(&Destination, &Transports)>,
        resource: Resource,
    ) -> Result<Option<SdkTracerProvider>, TelemetryError> {
        let sampler = self.sampler.take().unwrap_or_else(|| self.environment.sampler());
        let mut traces = mem::take(&mut self.traces)
            .with_resource(resource)
            .with_sampler(sampler)
            .with_span_limits(processors::span_limits(&self.environment));
        let console = self.environment.console(Signal::Traces);
        if let Some((destination, transports)) = export {
            let exporter = transports.spans(destination)?;
            traces = traces.with_span_processor(processors::spans(&self.environment, exporter));
        }
        if console {
            traces = traces.with_span_processor(processors::spans(&self.environment, Console));
        }
        let exported = self.traced || console || export.is_some();
        Ok(exported.then(|| traces.build()))
    }
}

impl fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Telemetry").field("prometheus", &self.prometheus).finish_non_exhaustive()
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("service", &self.service).finish_non_exhaustive()
    }
}
