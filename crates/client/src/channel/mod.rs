//! From a call to a connection: telemetry of the call → token → retries → transparent retries → telemetry of the attempt → deadline →
//! balancer → one connection per endpoint.

mod balancer;
mod connection;
mod credentials;
mod deadline;
mod endpoint_set;
mod endpoints;
mod health;
mod resend;
mod resolver;
mod retry;
mod service;
mod subchannel_metrics;

use std::{future::pending, io, net::SocketAddr, sync::Arc, time::Duration};

use grpc_otel::{DeadlineLayer, DurationMetrics, GrpcOtel};
use kelvin_credentials::Tokens;
use kelvin_proto::sensor_service_client::SensorServiceClient;
use kelvin_telemetry::Telemetry;
use opentelemetry::metrics::MeterProvider as _;
use tokio::{net::lookup_host, task::JoinSet, time::sleep};
use tower::{Layer as _, ServiceExt as _};

use crate::{ClientError, Config};
use balancer::Balancer;
use connection::Connector;
use credentials::{Credentials, authorize};
use deadline::set_timeout;
use endpoints::Endpoints;
use resend::Resend;
use retry::Retry;
use service::{Service, boxed};
use subchannel_metrics::SubchannelMetrics;

pub(crate) use deadline::Deadline;
pub(crate) use retry::Retryable;

/// The stub for calls over a [`Channel`].
pub type Client = SensorServiceClient<Service>;

/// The connections to all addresses of the server's name. They are closed when the last clone and the last stub are dropped.
#[derive(Debug, Clone)]
pub struct Channel {
    client: Client,
    endpoints: Endpoints,
    tokens: Option<Arc<Tokens>>,
}

impl Channel {
    /// Reads certificates and token and keeps connecting in the background. Needs a Tokio runtime.
    pub fn open(config: &Config, telemetry: &Telemetry) -> Result<Self, ClientError> {
        let (host, port) = config.host_and_port();
        let host: Arc<str> = host.into();
        Self::with_lookup(config, telemetry, move || {
            let host = host.clone();
            async move { Ok(lookup_host((&*host, port)).await?.collect()) }
        })
    }

    /// Opens a channel as [`open`](Self::open) does, with the addresses from `lookup` instead of DNS. `lookup` is called
    /// again every `KELVIN_DNS_REFRESH` and when a connection is lost; after an error the addresses stay as they were.
    pub fn with_lookup<F, A>(config: &Config, telemetry: &Telemetry, lookup: F) -> Result<Self, ClientError>
    where
        F: FnMut() -> A + Send + 'static,
        A: Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'static,
    {
        let meter = telemetry.meter_provider().meter(env!("CARGO_PKG_NAME"));
        let mut tasks = JoinSet::new();
        let Credentials { tls, tokens } = Credentials::load(config, &meter, &mut tasks)?;
        let endpoints = Endpoints::default();
        let connector = Connector {
            tls,
            origin: config.origin(),
            connect_timeout: config.deadline,
            reload_interval: config.reload_interval,
            metrics: SubchannelMetrics::new(&meter, &config.server.to_string()),
        };
        tasks.spawn(resolver::resolve_loop(
            lookup,
            config.dns_refresh,
            Arc::new(connector),
            endpoints.clone(),
        ));

        let mut otel = GrpcOtel::builder()
            .propagator(telemetry.propagator())
            .retry_metrics(true)
            .delay_metrics(true)
            .duration_metrics(if config.rpc_metrics { DurationMetrics::Both } else { DurationMetrics::Grpc });
        // Measurements that are not exported would cost nearly as much as others.
        if telemetry.exports_metrics() {
            otel = otel.meter_provider(&telemetry.meter_provider());
        }
        // Without an exporter there is no provider, because a span that is not exported would still send a sampled context.
        if let Some(provider) = telemetry.tracer_provider() {
            otel = otel.tracer_provider(&provider);
        }
        let otel = otel.build();
        let target = config.server.to_string();
        let attempts = boxed(
            otel.client_attempt_layer(&target)
                .layer(DeadlineLayer::new().layer(Balancer::new(endpoints.clone(), tasks)))
                .map_request(set_timeout),
        );
        let credentials = tokens.clone();
        let retries = Retry(boxed(Resend(attempts)))
            .map_request(move |request| authorize(request, credentials.as_deref()));
        let calls = boxed(otel.client_call_layer(&target).layer(retries));
        let client = SensorServiceClient::with_origin(calls, config.origin());
        Ok(Self { client, endpoints, tokens })
    }

    /// Returns a stub for calls. It is cheap to clone.
    #[must_use]
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// Returns the number of endpoints that are connected.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.endpoints.connections()
    }

    /// Waits until long-lived calls should be opened again: their server may be draining, and another one is ready.
    pub(crate) async fn handed_over(&self) {
        self.endpoints.handed_over().await;
    }

    /// Waits until the token file holds another token.
    pub(crate) async fn token_changed(&self, interval: Duration) {
        let Some(tokens) = &self.tokens else { return pending().await };
        let old = tokens.first();
        while tokens.first() == old {
            sleep(interval).await;
        }
    }
}
