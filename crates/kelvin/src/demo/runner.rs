//! The server and its clients, in this process.

use std::{
    io::{self, ErrorKind},
    iter,
    net::SocketAddr,
    sync::{
        Arc,
        mpsc::{self, Receiver, RecvTimeoutError, Sender},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use kelvin_app::{BoxError, health::Health, signal};
use kelvin_client::Channel;
use kelvin_credentials::OtlpTls;
use kelvin_proto::CallType;
use kelvin_server::Server;
use kelvin_telemetry::Telemetry;
use opentelemetry_sdk::trace::Sampler;
use tokio::{
    runtime,
    sync::{oneshot, watch},
    task::JoinSet,
    time::timeout,
};

use super::{
    arguments::Arguments, credentials_dir::CredentialsDir, record::Recorder, sensors::Sensors, settings,
    snapshot::Snapshot,
};

/// The timeout for the shutdown of the clients, and again for that of the telemetry.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(3);
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// A running demo. Its files are removed when it is dropped.
pub(super) struct Demo {
    dir: Arc<CredentialsDir>,
    address: SocketAddr,
    started: Instant,
    recorder: Recorder,
    sensors: Sensors,
    stop: oneshot::Sender<()>,
    /// Closed when the shutdown begins, whoever requested it.
    end: Receiver<()>,
    thread: JoinHandle<Result<(), BoxError>>,
}

/// The order of the shutdown.
#[derive(Debug, PartialEq, PartialOrd)]
enum Phase {
    Run,
    StopClients,
    StopServer,
}

impl Demo {
    /// Creates certificates and a token, and starts the server and the clients. All are up when this returns.
    pub(super) fn start(arguments: &Arguments) -> Result<Self, BoxError> {
        // Before the directory, so that no signal ends the process and leaves it.
        let shutdown = signal::shutdown();
        let dir = Arc::new(CredentialsDir::create()?);
        let server = settings::server(&dir, arguments)?;
        let (recorder, sensors) = (Recorder::default(), Sensors::default());
        let (stop, stopped) = oneshot::channel();
        let (ready, started) = mpsc::channel();
        let (ending, end) = mpsc::channel();
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let run =
            run(dir.clone(), server, recorder.clone(), sensors.clone(), ready, stopped, shutdown, ending);
        let thread = thread::Builder::new().name("demo".into()).spawn(move || runtime.block_on(run))?;
        match started.recv() {
            Ok(address) => {
                Ok(Self { dir, address, started: Instant::now(), recorder, sensors, stop, end, thread })
            }
            Err(_) => Err(match join(thread) {
                Err(error) if is_in_use(&*error) => format!(
                    "port {} is in use: choose another with --port, or --port 0 for any free one",
                    arguments.port
                )
                .into(),
                Err(error) => error,
                Ok(()) => "the demo stopped before the server was ready".into(),
            }),
        }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the current state.
    pub(super) fn snapshot(&self) -> Snapshot {
        Snapshot {
            elapsed: self.started.elapsed(),
            calls: self.recorder.calls(),
            sensors: self.sensors.get(),
            trace: self.recorder.latest(),
        }
    }

    /// A command line in parts that belong together; it works for as long as this runs.
    pub(super) fn grpcurl(&self) -> [String; 4] {
        [
            "grpcurl".into(),
            format!("-cacert {}", self.dir.path("ca.crt")),
            format!("-H \"authorization: $(cat {})\"", self.dir.path("token")),
            format!("{} SensorService/ListSensors", self.address),
        ]
    }

    /// Waits until `time`. Returns true if the demo ends before that.
    pub(super) fn wait_until(&self, time: Instant) -> bool {
        let left = time.saturating_duration_since(Instant::now());
        self.end.recv_timeout(left) == Err(RecvTimeoutError::Disconnected)
    }

    /// Shuts everything down gracefully. Returns an error if a part stopped by itself.
    pub(super) fn stop(self) -> Result<(), BoxError> {
        // It may have ended.
        let _ = self.stop.send(());
        join(self.thread)
    }
}

fn join(thread: JoinHandle<Result<(), BoxError>>) -> Result<(), BoxError> {
    thread.join().unwrap_or_else(|_| Err("the demo panicked".into()))
}

fn is_in_use(error: &(dyn std::error::Error + 'static)) -> bool {
    iter::successors(Some(error), |error| error.source())
        .filter_map(|error| error.downcast_ref::<io::Error>())
        .any(|error| error.kind() == ErrorKind::AddrInUse)
}

/// Runs all parts until a stop is requested, a signal arrives or a part fails.
#[expect(clippy::too_many_arguments, reason = "called once, by the thread that owns all of them")]
async fn run(
    dir: Arc<CredentialsDir>,
    server: kelvin_server::Config,
    recorder: Recorder,
    sensors: Sensors,
    started: Sender<SocketAddr>,
    stopped: oneshot::Receiver<()>,
    shutdown: impl Future<Output = ()>,
    ending: Sender<()>,
) -> Result<(), BoxError> {
    // Calls are counted by their spans, so all are taken.
    let telemetry = |name| {
        let builder = Telemetry::builder(name, VERSION).sampler(Sampler::AlwaysOn);
        // The demo is short: files are read once.
        let builder = builder.tls(|files| OtlpTls::default().load(files));
        builder.span_processor(recorder.clone())
    };
    let of_server = telemetry("kelvin-server").with_warnings().build()?;
    let of_clients = Arc::new(telemetry("kelvin-client").build()?);
    let (phase, _) = watch::channel(Phase::Run);
    let reached = |wanted: Phase| {
        let mut phase = phase.subscribe();
        async move {
            // An error means that the sender was dropped, which is the end too.
            let _ = phase.wait_for(|phase| *phase >= wanted).await;
        }
    };

    let server = Server::build(server, &of_server)?;
    let address = server.local_addr();
    let mut server = tokio::spawn(server.run(reached(Phase::StopServer)));
    let mut clients = JoinSet::new();
    for kind in CallType::ALL {
        let config = settings::client(&dir, address, kind)?;
        let channel = Channel::open(&config, &of_clients)?;
        let (telemetry, shutdown) = (of_clients.clone(), reached(Phase::StopClients));
        clients.spawn(async move {
            kelvin_client::run(config, channel, &telemetry, Health::new(), shutdown).await;
            Ok::<_, BoxError>(())
        });
    }
    let config = settings::client(&dir, address, CallType::Unary)?;
    let channel = Channel::open(&config, &of_clients)?;
    let polling = tokio::spawn(sensors.poll(channel));
    started.send(address)?;

    let end = tokio::select! {
        _ = stopped => Ok(()),
        () = shutdown => Ok(()),
        ended = &mut server => Err(unexpected_exit("the server", ended)),
        Some(ended) = clients.join_next() => Err(unexpected_exit("a client", ended)),
    };
    drop(ending);
    // Its connection closes before the server stops.
    polling.abort();
    let _ = polling.await;
    phase.send_replace(Phase::StopClients);
    let _ = timeout(SHUTDOWN_TIMEOUT, clients.join_all()).await;
    phase.send_replace(Phase::StopServer);
    if end.is_ok() {
        server.await??;
    }
    tokio::join!(of_server.shutdown(SHUTDOWN_TIMEOUT), of_clients.shutdown(SHUTDOWN_TIMEOUT));
    end
}

fn unexpected_exit<E: Into<BoxError>>(
    who: &str,
    ended: Result<Result<(), E>, tokio::task::JoinError>,
) -> BoxError {
    match ended {
        Ok(Ok(())) => format!("{who} stopped unexpectedly").into(),
        Ok(Err(error)) => error.into(),
        Err(error) => error.into(),
    }
}
