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
    connections::{Registry, Turns},
    log_rate_limiter::LogRateLimiter,
    rpc::{AuxiliaryService, Core},
};

/// The pause after a failed accept, in which a closing connection may free its file descriptor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The number of tasks that run before Tokio looks for I/O and one more busy connection gets a turn. With Tokio's default, 61,
/// connections that are nearly busy would leave the busy ones less of the thread.
const EVENT_INTERVAL: u32 = 16;

static ACCEPT_LOG: LogRateLimiter = LogRateLimiter::new();

/// A thread with its own runtime and listener.
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
    /// Receives `Ok` when the worker serves, or the error that prevents it.
    pub(crate) ready: oneshot::Receiver<Result<(), ServerError>>,
    /// Notified when the worker has ended; closed if it has panicked.
    pub(crate) done: oneshot::Receiver<()>,
}

impl Worker {
    /// Starts the thread; it ends when the server drains.
    pub(crate) fn start(self, index: usize) -> Result<Running, ServerError> {
        let (ready_tx, ready) = oneshot::channel();
        let (done_tx, done) = oneshot::channel();
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .event_interval(EVENT_INTERVAL)
            .build()
            .map_err(ServerError::Worker)?;
        observe_runtime(&self.meter, format!("worker-{index}"), runtime.handle());
        thread::Builder::new()
            .name(format!("kelvin-{index}"))
            .spawn(move || {
                runtime.block_on(self.run(ready_tx));
                // Aborts the tasks that did not end within the drain timeout.
                drop(runtime);
                let _ = done_tx.send(());
            })
            .map_err(ServerError::Worker)?;
        Ok(Running { ready, done })
    }

    async fn run(self, ready_tx: oneshot::Sender<Result<(), ServerError>>) {
        let shared = Arc::clone(&self.shared);
        let (listener, core) = match self.open().await {
            Ok(parts) => parts,
            Err(error) => {
                let _ = ready_tx.send(Err(error));
                return;
            }
        };
        let _ = ready_tx.send(Ok(()));
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
        // Connections already in the accept queue receive a graceful GOAWAY.
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
        let (turns, give_turns) = Turns::new();
        tokio::spawn(give_turns);
        let core = Core {
            store: factory.open().await?,
            metrics: Arc::clone(&shared.metrics),
            max_message_size: shared.config.max_message_size.0,
            max_clock_skew: shared.config.max_clock_skew,
            max_stream_age: shared.config.max_stream_age,
            interrupts: Arc::new(Interrupts::new(shared.drain.child_token(), tokens)),
            turns,
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
