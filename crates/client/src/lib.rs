//! Four kinds of sensor, one for each gRPC call type.
//!
//! [`run`] simulates sensors and delivers their readings: those that the server has not acknowledged are sent
//! again, whatever happens to servers, certificates and tokens in between. [`Channel`] is the way to the server:
//! TLS with reload, all addresses of a name in turn, deadlines, retries, telemetry.

#![deny(clippy::print_stdout, clippy::print_stderr)] // they panic on closed pipes and full disks

mod backoff;
mod channel;
pub mod check;
mod config;
mod error;
mod kinds;
mod metrics;
mod outbox;
mod outcome;
mod progress;
mod session;
mod simulation;

use kelvin_app::{health::Health, unix_now};
use kelvin_proto::CallType;
use kelvin_telemetry::Telemetry;
use opentelemetry::metrics::MeterProvider as _;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

pub use channel::{Channel, Client};
pub use config::Config;
pub use error::ClientError;

use kinds::{BidiStreaming, ClientStreaming, ServerStreaming, Unary};
use metrics::Metrics;
use outbox::Outbox;
use progress::Progress;
use session::Session;
use simulation::Simulation;

/// Runs one client over `channel` until `shutdown`; then delivers the readings taken, within `KELVIN_DRAIN_TIMEOUT`.
///
/// `health` is ready while calls succeed.
pub async fn run(
    config: Config,
    channel: Channel,
    telemetry: &Telemetry,
    health: Health,
    shutdown: impl Future<Output = ()>,
) {
    let metrics = Metrics::new(&telemetry.meter_provider().meter(env!("CARGO_PKG_NAME")), config.client_rpc);
    telemetry.export_first_metrics();
    let closing = CancellationToken::new();
    let session = Session {
        channel,
        outbox: Outbox::new(config.backlog, metrics.clone()),
        progress: Progress::new(health.clone(), closing.clone(), config.token_file.clone()),
        closing,
        metrics,
        config,
    };
    let mut calls = std::pin::pin!(run_calls(&session));
    tokio::select! {
        () = &mut calls => {}
        () = sample(&session) => {}
        () = shutdown => {}
    }
    health.set_unready("shutting down");
    session.closing.cancel();
    session.outbox.close();
    if timeout(session.config.drain_timeout, calls).await.is_err() {
        let readings = session.outbox.len();
        tracing::warn!(readings, "drain timed out (KELVIN_DRAIN_TIMEOUT); readings not acknowledged");
    }
}

async fn run_calls(session: &Session) {
    match session.config.client_rpc {
        CallType::Unary => kinds::run(session, Unary).await,
        CallType::ClientStreaming => kinds::run(session, ClientStreaming).await,
        CallType::ServerStreaming => {
            let kind = ServerStreaming::new(&session.config);
            kinds::run(session, kind).await;
        }
        CallType::BidiStreaming => kinds::run(session, BidiStreaming).await,
    }
}

/// Samples at random intervals until shutdown, whether the server accepts readings or not.
async fn sample(session: &Session) {
    if session.config.client_rpc == CallType::ServerStreaming {
        return std::future::pending().await;
    }
    let seed = session.config.seed.unwrap_or_else(|| fastrand::u64(..));
    tracing::info!(seed, "simulating sensors");
    let mut simulation = Simulation::new(seed, session.config.sensor_ids());
    loop {
        sleep(session.interval()).await;
        session.outbox.push(simulation.sample(unix_now()));
    }
}
