//! The servers that are measured, each in a process of its own on a core of its own.

use std::{
    env,
    ffi::OsString,
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use clap::ValueEnum;
use core_affinity::CoreId;
use kelvin_bench::{files::Files, tuned::READINGS_PER_SENSOR};
use kelvin_testing::{Process, free_port, machine};

use crate::peers;

/// How long a server may take to listen.
const START_TIMEOUT: Duration = Duration::from_secs(10);

/// A server to measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Peer {
    /// `kelvin-server` of this commit: tokens, metrics, one call in ten traced and exported.
    Kelvin,
    /// The same with two workers, on both cores.
    TwoWorkers,
    /// `kelvin-server` of an older commit (`--base`).
    Base,
    /// tonic's generated service without its router, a sharded store, nothing else.
    Tonic,
    /// A bare h2 echo: the floor for unary calls.
    H2,
    /// grpc-go (`--go`).
    Go,
    /// grpc-go with its official OpenTelemetry plugin (`--go`).
    GoOtel,
}

/// The programs that are not part of this one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Programs {
    pub(crate) kelvin: PathBuf,
    pub(crate) base: Option<PathBuf>,
    pub(crate) go: Option<PathBuf>,
}

/// A running server, killed when dropped.
pub(crate) struct Running {
    process: Process,
    pub(crate) address: SocketAddr,
}

impl Peer {
    /// Returns the peers whose programs are there.
    pub(crate) fn available(programs: &Programs) -> Vec<Self> {
        let there = |peer: &Self| match peer {
            Self::Base => programs.base.is_some(),
            Self::Go | Self::GoOtel => programs.go.is_some(),
            _ => true,
        };
        Self::value_variants().iter().copied().filter(there).collect()
    }

    pub(crate) fn name(self) -> String {
        self.to_possible_value().expect("no peer is hidden").get_name().to_owned()
    }
}

impl Running {
    /// Starts `peer` on the first of the cores, or on both, and waits until it accepts connections.
    pub(crate) fn start(
        peer: Peer,
        programs: &Programs,
        [core, other]: [CoreId; 2],
        files: &Files,
        telemetry: &str,
    ) -> io::Result<Self> {
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let this = env::current_exe()?;
        let folder = files.folder.path().display().to_string();
        let (program, arguments): (&Path, Vec<String>) = match peer {
            Peer::Kelvin | Peer::TwoWorkers => (&programs.kelvin, vec![]),
            Peer::Base => (programs.base.as_deref().unwrap_or(Path::new("")), vec![]),
            Peer::Tonic | Peer::H2 => (&this, vec!["serve".into(), peer.name(), address.to_string(), folder]),
            Peer::Go | Peer::GoOtel => {
                let otel = (peer == Peer::GoOtel).then(|| "-otel".into());
                let fixed = ["-address".into(), address.to_string(), "-files".into(), folder];
                (programs.go.as_deref().unwrap_or(Path::new("")), otel.into_iter().chain(fixed).collect())
            }
        };
        let mut command = if peer == Peer::TwoWorkers {
            let mut command = Command::new("taskset");
            command.arg("--cpu-list").arg(format!("{},{}", core.id, other.id)).arg(program);
            command
        } else {
            let mut command = Command::new(&this);
            command.args([OsString::from("pinned"), core.id.to_string().into(), program.into(), "--".into()]);
            command
        };
        let process = command
            .args(arguments)
            .envs(kelvin_settings(address, files))
            .env("KELVIN_WORKERS", if peer == Peer::TwoWorkers { "2" } else { "1" })
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", telemetry)
            .env("OTEL_LOGS_EXPORTER", "none")
            .env("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
            .env("OTEL_TRACES_SAMPLER_ARG", "0.1")
            .env("RUST_LOG", "error")
            .env("GOMAXPROCS", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()?;
        let mut running = Self { process: Process::new(process), address };
        running.wait(peer)?;
        Ok(running)
    }

    fn wait(&mut self, peer: Peer) -> io::Result<()> {
        let deadline = Instant::now() + START_TIMEOUT;
        while TcpStream::connect(self.address).is_err() {
            let ended = self.process.try_wait()?;
            if ended.is_some() || Instant::now() > deadline {
                return Err(io::Error::other(format!(
                    "{peer:?} did not start (make bench builds the servers)"
                )));
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Returns the CPU time used so far, in seconds.
    pub(crate) fn cpu_time(&self) -> Option<f64> {
        machine::cpu_time(self.process.id())
    }

    /// Returns the resident memory in bytes; `None` where there is no `/proc`.
    pub(crate) fn resident(&self) -> Option<u64> {
        machine::resident(self.process.id())
    }
}

/// Settings that all releases of `kelvin-server` understand.
fn kelvin_settings(address: SocketAddr, files: &Files) -> [(&'static str, String); 6] {
    let file = |name| files.path(name).display().to_string();
    [
        ("KELVIN_LISTEN", address.to_string()),
        ("KELVIN_HEALTH_LISTEN", String::new()),
        ("KELVIN_TLS_CERT", file("server.crt")),
        ("KELVIN_TLS_KEY", file("server.key")),
        ("KELVIN_TOKEN_FILE", file("token")),
        ("KELVIN_MAX_READINGS_PER_SENSOR", READINGS_PER_SENSOR.to_string()),
    ]
}

/// Pins this process to a core, then becomes `program`. Returns only if that fails.
pub(crate) fn pinned(core: usize, program: &Path, arguments: &[String]) -> io::Error {
    match machine::pin(CoreId { id: core }) {
        Ok(()) => Command::new(program).args(arguments).exec(),
        Err(error) => error,
    }
}

/// Serves one of the peers that are part of this program until standard input closes.
pub(crate) fn serve(peer: Peer, address: SocketAddr, files: &Path) -> Result<(), Box<dyn std::error::Error>> {
    thread::spawn(|| {
        // Nothing is ever sent; the pipe closes when the parent ends.
        let _ = io::stdin().read(&mut [0]);
        std::process::exit(0);
    });
    io::stdout().flush()?;
    match peer {
        Peer::Tonic => peers::tonic::serve(address, files),
        Peer::H2 => peers::h2::serve(address, files),
        _ => Err(format!("{peer:?} is a separate program, not served by this one").into()),
    }
}
