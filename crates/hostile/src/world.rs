//! The server's release binary, with everything it needs and everything that is seen of it.

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

pub(crate) const TOKEN: &str = "correct-horse-battery-staple";

/// Longer than a server takes to start on a busy machine.
const START: Duration = Duration::from_secs(20);

/// How often the server exports spans.
pub(crate) const EXPORT_INTERVAL: Duration = Duration::from_millis(200);

/// A caller's failure, for people to read.
pub(crate) type Failure = String;

/// A running server.
pub(crate) struct World {
    pub(crate) address: SocketAddr,
    pub(crate) health: SocketAddr,
    /// Before the files in the order of drops, so that it ends while they are there.
    process: Process,
    pub(crate) files: Files,
    pub(crate) binary: PathBuf,
    /// When an attack ends.
    pub(crate) until: Instant,
    /// Of one run.
    pub(crate) seconds: u64,
    receiver: Receiver,
    logged: Arc<Logged>,
}

/// What the server has logged.
#[derive(Debug, Default)]
struct Logged {
    lines: AtomicU64,
    bytes: AtomicU64,
}

/// Certificates and tokens.
pub(crate) struct Files {
    dir: TempDir,
    ca: LocalCa,
    tls: Arc<ClientTls>,
}

impl Files {
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

    /// A client with a certificate that is valid for so long.
    pub(crate) fn client_tls_for(&self, valid: Duration) -> Result<Arc<ClientTls>, Failure> {
        let now = SystemTime::now();
        let pair =
            self.ca.issue_valid(Usage::Client, &["localhost"], &(now - START..now + valid)).map_err(text)?;
        let (cert, key) = (self.path("client.pem"), self.path("client.key"));
        pair.write(&cert, &key).map_err(text)?;
        let files = ClientFiles { ca: Some(self.path("ca.pem")), cert: Some(cert), key: Some(key) };
        ClientTls::load(files).map_err(text)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

impl World {
    /// Starts a server on a core of its own, where there are two.
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
            // A caller's decision is followed, ours is never to sample.
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
        let until = Instant::now();
        let binary = binary.to_owned();
        let mut world = Self { address, health, process, files, binary, until, seconds, receiver, logged };
        world.until_ready().await?;
        Ok(world)
    }

    async fn until_ready(&mut self) -> Result<(), Failure> {
        let start = Instant::now();
        while health::check(self.health).await.is_err() {
            if let Ok(Some(status)) = self.process.try_wait() {
                return Err(format!("the server exited during startup: {status}"));
            }
            if start.elapsed() > START {
                return Err("the server did not become ready".to_owned());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// A TLS connection.
    pub(crate) async fn connect(&self) -> Result<TlsStream<TcpStream>, Failure> {
        self.connect_with(&self.files.tls).await
    }

    pub(crate) async fn connect_with(&self, tls: &ClientTls) -> Result<TlsStream<TcpStream>, Failure> {
        let connecting = async {
            let stream = TcpStream::connect(self.address).await?;
            stream.set_nodelay(true)?;
            let name = "localhost".try_into().expect("a name");
            TlsConnector::from(tls.config()).connect(name, stream).await
        };
        timeout(Duration::from_secs(10), connecting).await.map_err(text)?.map_err(text)
    }

    pub(crate) fn left(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }

    /// Resident memory in bytes.
    pub(crate) fn resident(&self) -> usize {
        machine::resident(self.process.id()).and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(0)
    }

    /// Lines and bytes logged so far.
    pub(crate) fn logged(&self) -> (u64, u64) {
        (self.logged.lines.load(Relaxed), self.logged.bytes.load(Relaxed))
    }

    /// Spans exported so far.
    pub(crate) fn spans(&self) -> usize {
        self.receiver.look(|received| received.spans().count())
    }
}

pub(crate) fn text(error: impl std::fmt::Display) -> Failure {
    error.to_string()
}

/// A child inherits the core of the thread that starts it.
fn spawn_on_first_core(mut command: Command) -> Result<Child, Failure> {
    let spawn = move || {
        if let Ok((server, _)) = machine::two_cores() {
            let _ = machine::pin(server);
        }
        let program = command.get_program().display().to_string();
        command.spawn().map_err(|error| format!("cannot start {program}: {error}"))
    };
    thread::spawn(spawn).join().map_err(|_| "cannot start the server".to_owned())?
}

/// Everything else is on the other core.
pub(crate) fn stay_off_first_core() {
    if let Ok((_, other)) = machine::two_cores() {
        let _ = machine::pin(other);
    }
}

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
