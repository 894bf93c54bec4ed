//! One server under load.

use std::{
    error::Error,
    fs,
    io::{self, BufRead as _, BufReader},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use clap::ValueEnum;
use core_affinity::CoreId;
use kelvin_bench::{files::Files, tuned::READINGS_PER_SENSOR};
use kelvin_load::{Options, Target, Tls};
use kelvin_proto::CallType;
use kelvin_testing::{Process, free_port, machine};
use tokio_rustls::rustls::ClientConfig;

use crate::variant::Variant;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Case {
    /// 64 calls at once over four connections
    Unary,
    /// One call at a time on each of 64 connections
    UnaryApart,
    /// Messages received in full DATA frames
    ClientStreaming,
    /// Messages sent, all available at once
    ServerStreaming,
}

/// How long grpc-go may take to listen.
const START_TIMEOUT: Duration = Duration::from_secs(10);

/// A server that is measured.
#[derive(Clone)]
pub(crate) enum Server {
    Tonic(Variant),
    Go {
        program: PathBuf,
        /// With the official plugin: metrics, and spans of a tenth of all calls.
        plugin: bool,
    },
}

impl Server {
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Tonic(variant) => format!("{variant:?}"),
            Self::Go { plugin: false, .. } => "Go".to_owned(),
            Self::Go { plugin: true, .. } => "GoPlugin".to_owned(),
        }
    }
}

/// Seconds of processor time for one call, or one message of a stream.
#[derive(Clone, Copy)]
pub(crate) struct Cost {
    /// Of the thread that serves; of all threads in Go, where any of them does.
    pub(crate) serving: f64,
    /// Of all threads of the server.
    pub(crate) all: f64,
}

pub(crate) struct Turn {
    pub(crate) server_core: CoreId,
    pub(crate) files: Files,
    pub(crate) tls: Arc<ClientConfig>,
    pub(crate) time: Duration,
}

impl Turn {
    pub(crate) fn measure(&self, server: &Server, case: Case) -> Result<Cost, Box<dyn Error>> {
        let server = match server {
            Server::Tonic(variant) => Running::tonic(*variant, self.server_core, &self.files)?,
            Server::Go { program, plugin } => Running::go(program, *plugin, self.server_core, &self.files)?,
        };
        let options = self.options(case, &server)?;
        // Processor time at the end of the warm-up and of the measurement.
        let (mut first, mut last) = (None, None);
        let report = kelvin_load::run(&options, |progress| {
            *if progress.warm_up { &mut first } else { &mut last } = server.cpu_time();
        })?;
        let (first, last) = first.zip(last).ok_or("no processor time in /proc")?;
        let figures = report.rpc.get(options.call_types[0].key()).ok_or("no call ended")?;
        if let Some((status, failures)) = figures.errors.first_key_value() {
            return Err(format!("{} calls ended with {status}: {}", failures.count, failures.message).into());
        }
        let amount =
            if options.call_types[0] == CallType::Unary { figures.calls } else { figures.readings } as f64;
        Ok(Cost { serving: (last.serving - first.serving) / amount, all: (last.all - first.all) / amount })
    }

    fn options(&self, case: Case, server: &Running) -> Result<Options, Box<dyn Error>> {
        let (kind, connections, streams, messages) = match case {
            Case::Unary => (CallType::Unary, 4, 16, 1),
            Case::UnaryApart => (CallType::Unary, 64, 1, 1),
            Case::ClientStreaming => (CallType::ClientStreaming, 4, 4, 10_000),
            Case::ServerStreaming => (CallType::ServerStreaming, 4, 4, READINGS_PER_SENSOR),
        };
        let tls = Tls { config: self.tls.clone(), name: "localhost".try_into()? };
        let target = Target { address: server.address.clone(), tls: Some(tls), token: None };
        let (warm_up, duration) = (self.time / 2, self.time);
        let options = Options::new(target, vec![kind]);
        Ok(Options { connections, streams, messages, warm_up, duration, ..options })
    }
}

/// A server in a process of its own, which ends with this.
struct Running {
    process: Process,
    address: String,
    is_go: bool,
}

impl Running {
    fn tonic(variant: Variant, core: CoreId, files: &Files) -> Result<Self, Box<dyn Error>> {
        let name = variant.to_possible_value().expect("no variant is skipped");
        let process = Command::new(std::env::current_exe()?)
            .args(["serve", name.get_name(), &core.id.to_string()])
            .arg(files.folder.path())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut process = Process::new(process);
        let mut line = String::new();
        BufReader::new(process.stdout.take().expect("piped")).read_line(&mut line)?;
        Ok(Self { process, address: line.trim().to_owned(), is_go: false })
    }

    /// Its plugin exports nothing in the time of a turn: what it costs to send is not the plugin's.
    fn go(program: &Path, plugin: bool, core: CoreId, files: &Files) -> io::Result<Self> {
        let address = format!("127.0.0.1:{}", free_port());
        let process = Command::new("taskset")
            .args(["--cpu-list", &core.id.to_string()])
            .arg(program)
            .args(["-address", &address, "-files"])
            .arg(files.folder.path())
            .args(plugin.then_some("-otel"))
            .env("GOMAXPROCS", "1")
            .env("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
            .env("OTEL_TRACES_SAMPLER_ARG", "0.1")
            .env("OTEL_BSP_SCHEDULE_DELAY", "600000")
            .env("OTEL_BSP_MAX_QUEUE_SIZE", "100000")
            .env("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "100000")
            .env("OTEL_METRIC_EXPORT_INTERVAL", "600000")
            // It ends with its standard input.
            .stdin(Stdio::piped())
            .spawn()?;
        let mut running = Self { process: Process::new(process), address, is_go: true };
        let deadline = Instant::now() + START_TIMEOUT;
        while TcpStream::connect(&running.address).is_err() {
            if running.process.try_wait()?.is_some() || Instant::now() > deadline {
                return Err(io::Error::other("grpc-go does not listen"));
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(running)
    }

    /// So far, in seconds.
    fn cpu_time(&self) -> Option<Cost> {
        let process = self.process.id();
        let all = machine::cpu_time(process)?;
        if self.is_go {
            return Some(Cost { serving: all, all });
        }
        let serving = fs::read_to_string(format!("/proc/{process}/task/{process}/schedstat")).ok()?;
        let serving = Duration::from_nanos(serving.split(' ').next()?.parse().ok()?);
        Some(Cost { serving: serving.as_secs_f64(), all })
    }
}
