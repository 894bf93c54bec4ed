//! Runs the server's release binary: its settings, credentials, log output, exported spans and memory.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant, SystemTime},
};

use kelvin_app::health;
use kelvin_credentials::{
    ClientFiles, ClientTls,
    ca::{LocalCa, Usage},
};
use kelvin_telemetry::receiver::Receiver;
use kelvin_testing::{Process, free_port, machine};
use tempfile::TempDir;
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// The bearer token that the server accepts.
pub(crate) const TOKEN: &str = "correct-horse-battery-staple";

/// Exceeds the startup time on a busy machine.
const STARTUP_TIMEOUT: Duration = Duration::from_secs(20);

/// Interval in which the server exports spans.
pub(crate) const EXPORT_INTERVAL: Duration = Duration::from_millis(200);

/// A human-readable description of what failed.
pub(crate) type Failure = String;

/// A running server process.
pub(crate) struct TestServer {
    pub(crate) address: SocketAddr,
    pub(crate) health: SocketAddr,
    /// Declared before `files`: fields are dropped in order, and the process must end before its files are removed.
    process: Process,
    pub(crate) files: Files,
    pub(crate) binary: PathBuf,
    /// End of the attack; before an attack starts, the time at which the server was started.
    pub(crate) deadline: Instant,
    /// Duration of the attack in seconds.
    pub(crate) seconds: u64,
    receiver: Receiver,
    logged: Arc<Logged>,
}

/// Amount of log output so far.
#[derive(Debug, Default)]
struct Logged {
    lines: AtomicU64,
    bytes: AtomicU64,
}

/// A temporary directory with certificates and tokens.
pub(crate) struct Files {
    dir: TempDir,
    ca: LocalCa,
    tls: Arc<ClientTls>,
}

impl Files {
    /// Generates a CA, a server certificate and a token file.
    fn new() -> Result<Self, Failure> {
        let ca = LocalCa::generate().map_err(text)?;
        let dir = TempDir::new().map_err(text)?;
        fs::write(dir.path().join("ca.pem"), ca.pem()).map_err(text)?;
        fs::write(dir.path().join("tokens"), format!("{TOKEN}\n")).map_err(text)?;
        let pair = ca.issue(Usage::Server, &["localhost", "127.0.0.1"]).map_err(text)?;
        pair.write(&dir.path().join("server.pem"), &dir.path().join("server.key")).map_err(text)?;
        let files = ClientFiles { ca: Some(dir.path().join("ca.pem")), cert: None, key: None };
        let tls = ClientTls::load(files).map_err(text)?;
        Ok(Self { dir, ca, tls })
    }

    /// Issues a client certificate that expires after `valid`, and returns a TLS configuration that uses it.
    pub(crate) fn client_tls_for(&self, valid: Duration) -> Result<Arc<ClientTls>, Failure> {
        let now = SystemTime::now();
        let pair = self
            .ca
            .issue_valid(Usage::Client, &["localhost"], &(now - STARTUP_TIMEOUT..now + valid))
            .map_err(text)?;
        let (cert, key) = (self.path("client.pem"), self.path("client.key"));
        pair.write(&cert, &key).map_err(text)?;
        let files = ClientFiles { ca: Some(self.path("ca.pem")), cert: Some(cert), key: Some(key) };
        ClientTls::load(files).map_err(text)
    }

    /// Returns the path of a file in the directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

impl TestServer {
    /// Starts a server and waits until it is ready. On a machine with at least two cores it has one to itself.
    pub(crate) async fn start(
        binary: &Path,
        settings: &[(&str, &str)],
        seconds: u64,
    ) -> Result<Self, Failure> {
        let receiver = Receiver::start().await.map_err(text)?;
        let files = Files::new()?;
        let [address, health] = [(); 2].map(|()| SocketAddr::from(([127, 0, 0, 1], free_port())));
        let mut command = Command::new(binary);
        command
            .env_clear()
            .env("KELVIN_LISTEN", address.to_string())
            .env("KELVIN_HEALTH_LISTEN", health.to_string())
            .env("KELVIN_WORKERS", "1")
            .env("KELVIN_TLS_CERT", files.path("server.pem"))
            .env("KELVIN_TLS_KEY", files.path("server.key"))
            .env("KELVIN_TOKEN_FILE", files.path("tokens"))
            .env("KELVIN_MTLS", "optional")
            .env("KELVIN_TLS_CLIENT_CA", files.path("ca.pem"))
            .env("KELVIN_DRAIN_DELAY", "0s")
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.grpc_endpoint())
            // The server follows the caller's sampling decision, and samples no trace that it starts itself.
            .env("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
            .env("OTEL_TRACES_SAMPLER_ARG", "0.0")
            .env("OTEL_LOGS_EXPORTER", "none")
            .env("OTEL_BSP_SCHEDULE_DELAY", EXPORT_INTERVAL.as_millis().to_string())
            .envs(settings.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut process = Process::new(spawn_on_first_core(command)?);
        let logged = Arc::new(Logged::default());
        count_lines(process.stdout.take(), &logged);
        count_lines(process.stderr.take(), &logged);
        let deadline = Instant::now();
        let binary = binary.to_owned();
        let mut server =
            Self { address, health, process, files, binary, deadline, seconds, receiver, logged };
        server.wait_until_ready().await?;
        Ok(server)
    }

    /// Waits until the health check succeeds.
    async fn wait_until_ready(&mut self) -> Result<(), Failure> {
        let start = Instant::now();
        while health::check(self.health).await.is_err() {
            if let Ok(Some(status)) = self.process.try_wait() {
                return Err(format!("the server exited during startup: {status}"));
            }
            if start.elapsed() > STARTUP_TIMEOUT {
                return Err("the server did not become ready".to_owned());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// Opens a TLS connection without a client certificate.
    pub(crate) async fn connect(&self) -> Result<TlsStream<TcpStream>, Failure> {
        self.connect_with(&self.files.tls).await
    }

    /// Opens a TLS connection with the given configuration.
    pub(crate) async fn connect_with(&self, tls: &ClientTls) -> Result<TlsStream<TcpStream>, Failure> {
        let connecting = async {
            let stream = TcpStream::connect(self.address).await?;
            stream.set_nodelay(true)?;
            let name = "localhost".try_into().expect("a name");
            TlsConnector::from(tls.config()).connect(name, stream).await
        };
        timeout(Duration::from_secs(10), connecting).await.map_err(text)?.map_err(text)
    }

    /// Returns the time until the attack ends.
    pub(crate) fn remaining(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// Returns the resident memory in bytes, or 0 if it cannot be read.
    pub(crate) fn resident_memory(&self) -> usize {
        machine::resident(self.process.id()).and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(0)
    }

    /// Returns how many lines and bytes the server has logged.
    pub(crate) fn logged(&self) -> (u64, u64) {
        (self.logged.lines.load(Relaxed), self.logged.bytes.load(Relaxed))
    }

    /// Returns how many spans the server has exported.
    pub(crate) fn spans(&self) -> usize {
        self.receiver.look(|received| received.spans().count())
    }
}

/// Converts an error into a [`Failure`].
pub(crate) fn text(error: impl std::fmt::Display) -> Failure {
    error.to_string()
}

/// Starts the program on the first core: a child process inherits the CPU affinity of the thread that starts it.
fn spawn_on_first_core(mut command: Command) -> Result<Child, Failure> {
    let spawn = move || {
        if let Ok((first, _)) = machine::two_cores() {
            let _ = machine::pin(first);
        }
        let program = command.get_program().display().to_string();
        command.spawn().map_err(|error| format!("cannot start {program}: {error}"))
    };
    thread::spawn(spawn).join().map_err(|_| "cannot start the server".to_owned())?
}

/// Pins the calling thread, and threads that it starts later, to the second core.
pub(crate) fn stay_off_first_core() {
    if let Ok((_, second)) = machine::two_cores() {
        let _ = machine::pin(second);
    }
}

/// Counts the lines of an output; prints them too if `HOSTILE_LOG` is set.
fn count_lines(output: Option<impl std::io::Read + Send + 'static>, logged: &Arc<Logged>) {
    let (Some(output), logged) = (output, Arc::clone(logged)) else { return };
    thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            logged.lines.fetch_add(1, Relaxed);
            logged.bytes.fetch_add(line.len() as u64 + 1, Relaxed);
            if std::env::var_os("HOSTILE_LOG").is_some() {
                eprintln!("{line}");
            }
        }
    });
}
