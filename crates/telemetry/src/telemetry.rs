//! The three providers: built from the environment, shut down within a limit.

use std::{fmt, thread, time::Duration};

use opentelemetry::{global, metrics::MeterProvider, propagation::TextMapCompositePropagator};
use opentelemetry_sdk::{
    error::{OTelSdkError, OTelSdkResult},
    logs::SdkLoggerProvider,
    metrics::{MeterProviderBuilder, PeriodicReader, SdkMeterProvider, exporter::PushMetricExporter},
    trace::{Sampler, SdkTracerProvider, SpanProcessor, TracerProviderBuilder},
};
use tokio::{sync::oneshot, time::timeout};

use crate::{
    TelemetryError,
    environment::{Environment, Signal},
    exporter::Transports,
    logs, process, propagation,
    resource::resource,
};

/// Traces, metrics and logs of one service. Exporting stops when it is dropped.
pub struct Telemetry {
    traces: SdkTracerProvider,
    metrics: SdkMeterProvider,
    logs: SdkLoggerProvider,
    measured: bool,
    export_logs: bool,
    environment: Environment,
    _transports: Option<Transports>,
}

/// What [`Telemetry`] is built from, besides the environment.
pub struct Builder {
    service: &'static str,
    version: &'static str,
    environment: Environment,
    traces: TracerProviderBuilder,
    metrics: MeterProviderBuilder,
    measured: bool,
    with_logs: bool,
}

impl Telemetry {
    /// Telemetry of `service` (`service.name` unless the environment says otherwise) at `version`.
    #[must_use]
    pub fn builder(service: &'static str, version: &'static str) -> Builder {
        Builder {
            service,
            version,
            environment: Environment::from_process(),
            traces: SdkTracerProvider::builder(),
            metrics: SdkMeterProvider::builder(),
            measured: false,
            with_logs: true,
        }
    }

    /// Where tracers come from.
    #[must_use]
    pub fn tracer_provider(&self) -> SdkTracerProvider {
        self.traces.clone()
    }

    /// Where meters come from.
    #[must_use]
    pub fn meter_provider(&self) -> SdkMeterProvider {
        self.metrics.clone()
    }

    /// How the context of a trace is put into metadata and read from it (`OTEL_PROPAGATORS`).
    #[must_use]
    pub fn propagator(&self) -> TextMapCompositePropagator {
        propagation::propagator(&self.environment).0
    }

    /// Makes log lines go to stdout and to the collector: JSON, or text on a terminal, with the ids of
    /// the current trace and span, at the levels of `RUST_LOG`. Panics become log lines. What is set up
    /// is global, and the first call in a process stands.
    pub fn init_logs(&self) {
        logs::init(self.export_logs.then_some(&self.logs), self.measured);
        for propagator in propagation::propagator(&self.environment).1 {
            tracing::warn!(propagator, "OTEL_PROPAGATORS names one there is not, left out");
        }
    }

    /// Exports what is left, all three signals at a time, and takes no longer than `limit` whatever the
    /// collector does.
    pub async fn shutdown(&self, limit: Duration) {
        let (traces, metrics, logs) = (self.traces.clone(), self.metrics.clone(), self.logs.clone());
        let traces = on_thread(move || traces.shutdown_with_timeout(limit));
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
    /// Sets a variable in place of the process's environment: where exporters connect, by which protocol
    /// and time limit, with which certificates, `OTEL_SDK_DISABLED`, `OTEL_PROPAGATORS` and
    /// `OTEL_SERVICE_NAME`. The SDK reads all others from the process by itself.
    #[must_use]
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.environment.set(name, value);
        self
    }

    /// Decides which traces are taken, whatever `OTEL_TRACES_SAMPLER` says.
    #[must_use]
    pub fn sampler(mut self, sampler: Sampler) -> Self {
        self.traces = self.traces.with_sampler(sampler);
        self
    }

    /// Adds a processor of spans.
    #[must_use]
    pub fn span_processor(mut self, processor: impl SpanProcessor + 'static) -> Self {
        self.traces = self.traces.with_span_processor(processor);
        self
    }

    /// Adds a reader of metrics.
    #[must_use]
    pub fn metric_reader<E: PushMetricExporter>(mut self, reader: PeriodicReader<E>) -> Self {
        self.metrics = self.metrics.with_reader(reader);
        self.measured = true;
        self
    }

    /// Whether logs are exported, if there is an endpoint for them; they are by default.
    #[must_use]
    pub fn with_logs(mut self, with_logs: bool) -> Self {
        self.with_logs = with_logs;
        self
    }

    /// Builds the providers and connects exporters to what the environment names. Nothing is sent yet
    /// and nothing waits for a collector. The SDK's metrics on itself (`otel.sdk.*`) go to the meter
    /// provider built last.
    pub fn build(self) -> Result<Telemetry, TelemetryError> {
        let Self { service, version, environment, mut traces, mut metrics, mut measured, with_logs } = self;
        let resource = resource(service, version, &environment);
        let span_target = environment.target(Signal::Traces)?;
        let metric_target = environment.target(Signal::Metrics)?;
        let log_target = environment.target(Signal::Logs)?.filter(|_| with_logs);
        let exporting = span_target.is_some() || metric_target.is_some() || log_target.is_some();
        let transports = exporting.then(Transports::start).transpose()?;

        if let Some((target, transports)) = metric_target.zip(transports.as_ref()) {
            metrics = metrics.with_reader(PeriodicReader::builder(transports.metrics(&target)?).build());
            measured = true;
        }
        let metrics = metrics.with_resource(resource.clone()).build();
        process::observe(&metrics.meter("kelvin-telemetry"));
        // Span processors take their meter when they are made.
        global::set_meter_provider(metrics.clone());

        if let Some((target, transports)) = span_target.zip(transports.as_ref()) {
            traces = traces.with_batch_exporter(transports.spans(&target)?);
        }
        let export_logs = log_target.is_some();
        let mut logs = SdkLoggerProvider::builder().with_resource(resource.clone());
        if let Some((target, transports)) = log_target.zip(transports.as_ref()) {
            logs = logs.with_batch_exporter(transports.logs(&target)?);
        }
        Ok(Telemetry {
            traces: traces.with_resource(resource).build(),
            metrics,
            logs: logs.build(),
            measured,
            export_logs,
            environment,
            _transports: transports,
        })
    }
}

impl fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Telemetry").field("export_logs", &self.export_logs).finish_non_exhaustive()
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("service", &self.service).finish_non_exhaustive()
    }
}
