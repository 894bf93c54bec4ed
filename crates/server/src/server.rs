use std::{
    net::{SocketAddr, TcpListener},
    num::NonZeroUsize,
    sync::Arc,
    thread,
};

use grpc_otel::{Builder, DurationMetrics, GrpcOtel, Methods, ServerLayer};
use kelvin_app::health::{self, Health};
use kelvin_credentials::Tokens;
use kelvin_store::StoreFactory;
use kelvin_telemetry::{Prometheus, Telemetry};
use opentelemetry::{
    metrics::{Meter, MeterProvider as _},
    trace::TracerProvider as _,
};
use tokio::{task::JoinSet, time::sleep};
use tokio_util::sync::CancellationToken;
use tonic_health::server::HealthReporter;

use crate::{
    ServerError,
    accept::Shared,
    builtin_services,
    config::Config,
    connections::{Limits, Registry},
    files,
    listen::listeners,
    metrics::Metrics,
    rpc::Authenticator,
    sensor_metrics, valkey,
    worker::{Running, Worker},
};

/// A server with valid settings and bound ports.
pub struct Server {
    listeners: Vec<TcpListener>,
    health_listener: Option<TcpListener>,
    local_addr: SocketAddr,
    shared: Arc<Shared>,
    tokens: Option<Arc<Tokens>>,
    factory: StoreFactory,
    valkey_files: Option<valkey::Reload>,
    meter: Meter,
    prometheus: Option<Prometheus>,
}

impl Server {
    /// Reads all files, then binds the ports. Port 0 binds any free port.
    pub fn build(config: Config, telemetry: &Telemetry) -> Result<Self, ServerError> {
        let meter = telemetry.meter_provider().meter("kelvin");
        let metrics = Arc::new(Metrics::new(&meter, config.max_connections.get()));
        let (tls, tokens, (kind, valkey_files)) = files::load(&config)?;
        let mut factory = StoreFactory::new(kind, config.limits(), config.alerts(), &meter)?;
        if let Some(provider) = telemetry.tracer_provider() {
            factory = factory.traced(provider.tracer("kelvin-store"));
        }

        let workers = NonZeroUsize::new(config.workers).or_else(|| thread::available_parallelism().ok());
        let workers = workers.map_or(1, NonZeroUsize::get);
        let listeners =
            listeners(kelvin_app::listen::available(config.listen), workers).map_err(|source| {
                ServerError::Listen { variable: "KELVIN_LISTEN", address: config.listen, source }
            })?;
        let local_addr = local_addr(&listeners[0], "KELVIN_LISTEN", config.listen)?;
        let health_listener = config.health_listen.map(bind_health).transpose()?;
        let prometheus = telemetry.prometheus();

        let shared = Arc::new(Shared {
            tls,
            authenticator: Arc::new(Authenticator::new(tokens.clone(), Arc::clone(&metrics))),
            otel: traced(&config, telemetry),
            untraced: untraced(&config, telemetry),
            registry: Arc::new(Registry::new(Limits::new(&config), Arc::clone(&metrics))),
            metrics,
            drain: CancellationToken::new(),
            config,
        });
        Ok(Self {
            listeners,
            health_listener,
            local_addr,
            shared,
            tokens,
            factory,
            valkey_files,
            meter,
            prometheus,
        })
    }

    /// Returns the address on which gRPC is served.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Returns the address of the health port, if there is one.
    #[must_use]
    pub fn health_addr(&self) -> Option<SocketAddr> {
        self.health_listener.as_ref().and_then(|listener| listener.local_addr().ok())
    }

    /// Serves until `shutdown` completes, then drains: reports not ready, ends streams and closes connections.
    pub async fn run(mut self, shutdown: impl Future<Output = ()> + Send) -> Result<(), ServerError> {
        let health = Health::new();
        let reporter = HealthReporter::new();
        builtin_services::set_serving(&reporter, false).await;
        let _background = self.start_background(&health)?;
        if let Some(prometheus) = self.prometheus.take() {
            health.serve_metrics(move || prometheus.render());
        }
        let (address, shared) = (self.local_addr, Arc::clone(&self.shared));
        let workers = self.start_workers(&reporter)?;
        // Dropped on every return path, so that the workers' threads end too.
        let drain = shared.drain.clone().drop_guard();

        let (ready, done): (Vec<_>, Vec<_>) = workers.into_iter().map(|w| (w.ready, w.done)).unzip();
        for (index, ready) in ready.into_iter().enumerate() {
            ready.await.unwrap_or(Err(ServerError::WorkerLost(index)))?;
        }
        builtin_services::set_serving(&reporter, true).await;
        health.set_ready();
        let config = &shared.config;
        tracing::info!(%address, workers = done.len(), store = %config.store, mtls = %config.mtls, "serving");

        let mut ends: JoinSet<_> = done
            .into_iter()
            .enumerate()
            .map(|(index, done)| async move { done.await.map_err(|_| index) })
            .collect();
        tokio::select! {
            () = shutdown => {}
            Some(ended) = ends.join_next() => {
                let index = ended.ok().and_then(Result::err).unwrap_or_default();
                return Err(ServerError::WorkerLost(index));
            }
        }
        health.set_unready("draining");
        builtin_services::set_serving(&reporter, false).await;
        tracing::info!(wait = ?config.drain_delay, limit = ?config.drain_timeout, "draining");
        sleep(config.drain_delay).await;
        drop(drain);
        while ends.join_next().await.is_some() {}
        tracing::info!("drained");
        Ok(())
    }

    /// Starts the background tasks on the caller's runtime: the health port, reloads, metrics of sensors, and the closing of
    /// idle connections.
    fn start_background(&mut self, health: &Health) -> Result<JoinSet<()>, ServerError> {
        let mut background = JoinSet::new();
        if let Some(listener) = self.health_listener.take() {
            let listener = tokio::net::TcpListener::from_std(listener).map_err(ServerError::Worker)?;
            background.spawn(health::serve(listener, health.clone(), std::future::pending()));
        }
        background.spawn(Arc::clone(&self.shared.registry).close_idle());
        let every = self.shared.config.reload_interval;
        if let Some(tls) = &self.shared.tls {
            background.spawn(tls.watch(every, &self.meter));
        }
        let sensors = self.shared.config.sensor_metrics;
        if sensors > 0 {
            background.spawn(sensor_metrics::report(self.factory.clone(), sensors, self.meter.clone()));
        }
        if let Some(tokens) = &self.tokens {
            background.spawn(tokens.watch(every, &self.meter));
        }
        if let Some(files) = self.valkey_files.take() {
            background.spawn(files.watch(every, &self.meter));
        }
        Ok(background)
    }

    fn start_workers(self, reporter: &HealthReporter) -> Result<Vec<Running>, ServerError> {
        let max_message_size = self.shared.config.max_message_size.0;
        let mut auxiliary_services = vec![builtin_services::health(reporter.clone(), max_message_size)];
        if self.shared.config.reflection {
            auxiliary_services.extend(builtin_services::reflection(max_message_size));
        }
        let start = |(index, listener)| {
            let (factory, auxiliary_services, meter) =
                (self.factory.clone(), auxiliary_services.clone(), self.meter.clone());
            let (tokens, shared) = (self.tokens.clone(), Arc::clone(&self.shared));
            Worker { listener, factory, auxiliary_services, tokens, meter, shared }.start(index)
        };
        self.listeners.into_iter().enumerate().map(start).collect()
    }
}

/// Returns the layer for calls of authenticated callers.
fn traced(config: &Config, telemetry: &Telemetry) -> ServerLayer {
    let mut otel = measured(config, telemetry).propagator(telemetry.propagator());
    if let Some(provider) = telemetry.tracer_provider() {
        otel = otel.tracer_provider(&provider);
    }
    otel.build().server_layer(methods())
}

/// Returns the layer for other calls, whose trace context and baggage are not read.
fn untraced(config: &Config, telemetry: &Telemetry) -> ServerLayer {
    measured(config, telemetry).build().server_layer(methods())
}

fn measured(config: &Config, telemetry: &Telemetry) -> Builder {
    let durations = if config.rpc_metrics { DurationMetrics::Both } else { DurationMetrics::Grpc };
    let otel = GrpcOtel::builder().duration_metrics(durations);
    // Measurements that are not exported would cost nearly as much as others.
    if telemetry.exports_metrics() { otel.meter_provider(&telemetry.meter_provider()) } else { otel }
}

fn methods() -> Methods {
    Methods::from_descriptor_set(kelvin_proto::FILE_DESCRIPTOR_SET)
        .and_then(|methods| methods.and_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET))
        .and_then(|methods| methods.and_descriptor_set(tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET))
        .and_then(|methods| methods.and_descriptor_set(tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET))
        .expect("generated descriptors are valid")
}

fn bind_health(address: SocketAddr) -> Result<TcpListener, ServerError> {
    let bind = || {
        let listener = TcpListener::bind(kelvin_app::listen::available(address))?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    };
    bind().map_err(|source| ServerError::Listen { variable: "KELVIN_HEALTH_LISTEN", address, source })
}

fn local_addr(
    listener: &TcpListener,
    variable: &'static str,
    address: SocketAddr,
) -> Result<SocketAddr, ServerError> {
    listener.local_addr().map_err(|source| ServerError::Listen { variable, address, source })
}
