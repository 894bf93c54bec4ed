use std::{
    net::{SocketAddr, TcpListener},
    sync::Arc,
    thread,
    time::Duration,
};

use futures_util::FutureExt as _;
use kelvin_credentials::Tokens;
use kelvin_store::StoreFactory;
use kelvin_telemetry::observe_runtime;
use opentelemetry::metrics::Meter;
use rustix::io::Errno;
use tokio::{
    net::{TcpListener as TokioListener, TcpStream},
    runtime,
    sync::oneshot,
    time::{sleep, timeout},
};
use tokio_util::task::TaskTracker;

use crate::{
    ServerError,
    accept::{self, Shared},
    caller::Interrupts,
    connections::Registry,
    log_rate_limiter::LogRateLimiter,
    rpc::{AuxiliaryService, Core},
};

/// The pause after a connection could not be accepted. Meanwhile a closing one frees its file descriptor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

static ACCEPT_LOG: LogRateLimiter = LogRateLimiter::new();

/// A thread with a runtime and a listener of its own.
pub(crate) struct Worker {
    pub(crate) listener: TcpListener,
    pub(crate) factory: StoreFactory,
    pub(crate) auxiliary_services: Vec<AuxiliaryService>,
    pub(crate) tokens: Option<Arc<Tokens>>,
    pub(crate) meter: Meter,
    pub(crate) shared: Arc<Shared>,
}

/// A worker that has been started.
pub(crate) struct Running {
    /// Receives whether it serves, or why it cannot.
    pub(crate) ready: oneshot::Receiver<Result<(), ServerError>>,
    /// Notified when it has ended; closed when it panicked.
    pub(crate) done: oneshot::Receiver<()>,
}

impl Worker {
    /// Starts the thread; it ends when the server drains.
    pub(crate) fn start(self, index: usize) -> Result<Running, ServerError> {
        let (tell_ready, ready) = oneshot::channel();
        let (tell_done, done) = oneshot::channel();
        let runtime =
            runtime::Builder::new_current_thread().enable_all().build().map_err(ServerError::Worker)?;
        observe_runtime(&self.meter, format!("worker-{index}"), runtime.handle());
        thread::Builder::new()
            .name(format!("kelvin-{index}"))
            .spawn(move || {
                runtime.block_on(self.run(tell_ready));
                // What has not ended within the drain's bound ends here.
                drop(runtime);
                let _ = tell_done.send(());
            })
            .map_err(ServerError::Worker)?;
        Ok(Running { ready, done })
    }

    async fn run(self, tell_ready: oneshot::Sender<Result<(), ServerError>>) {
        let shared = Arc::clone(&self.shared);
        let (listener, core) = match self.open().await {
            Ok(parts) => parts,
            Err(error) => {
                let _ = tell_ready.send(Err(error));
                return;
            }
        };
        let _ = tell_ready.send(Ok(()));
        let interrupts = Arc::clone(&core.interrupts);
        tokio::spawn(async move { interrupts.watch().await });
        let tracker = TaskTracker::new();
        let accept = |connection| {
            tracker.spawn(accept::serve(connection, Arc::clone(&shared), Arc::clone(&core)));
        };
        while let Some(connection) = shared.drain.run_until_cancelled(next(&listener, &shared.registry)).await
        {
            accept(connection);
        }
        // Who has connected already gets an orderly GOAWAY.
        while let Some(connection) = next(&listener, &shared.registry).now_or_never() {
            accept(connection);
        }
        drop(listener);
        tracker.close();
        if timeout(shared.config.drain_timeout, tracker.wait()).await.is_err() {
            tracing::warn!(
                connections = tracker.len(),
                "drain timed out; closing the remaining connections (KELVIN_DRAIN_TIMEOUT)"
            );
        }
    }

    async fn open(self) -> Result<(TokioListener, Arc<Core>), ServerError> {
        let Self { listener, factory, auxiliary_services, tokens, shared, .. } = self;
        let core = Core {
            store: factory.open().await?,
            metrics: Arc::clone(&shared.metrics),
            max_message_size: shared.config.max_message_size.0,
            max_clock_skew: shared.config.max_clock_skew,
            max_stream_age: shared.config.max_stream_age,
            interrupts: Arc::new(Interrupts::new(shared.drain.child_token(), tokens)),
            auxiliary_services,
        };
        Ok((TokioListener::from_std(listener).map_err(ServerError::Worker)?, Arc::new(core)))
    }
}

async fn next(listener: &TokioListener, registry: &Registry) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(connection) => return connection,
            Err(error) => {
                if matches!(Errno::from_io_error(&error), Some(Errno::MFILE | Errno::NFILE)) {
                    registry.make_room();
                }
                if let Some(times) = ACCEPT_LOG.record() {
                    tracing::warn!(times, %error, "cannot accept a connection");
                }
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}
