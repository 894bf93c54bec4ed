//! Load on a server in a process of its own, on the same core.

use std::{
    env, future,
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::SocketAddr,
    process::{self, Stdio},
    thread,
    time::Duration,
};

use core_affinity::CoreId;
use kelvin_bench::files::{Files, TOKEN};
use kelvin_credentials::{ClientFiles, ClientTls};
use kelvin_load::{Options, Target, Tls};
use kelvin_proto::CallType;
use kelvin_server::{Acknowledge, Config, Server};
use kelvin_telemetry::Telemetry;
use kelvin_testing::{Process, machine};

use crate::{
    error::Result,
    peer::{Calls, Size},
    variant::{HELD, Variant},
};

/// Connections and streams, and what they carry.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) kind: CallType,
    pub(crate) sensors: usize,
    pub(crate) connections: usize,
    pub(crate) streams: usize,
    pub(crate) messages: u64,
    pub(crate) acknowledge: Acknowledge,
}

/// What came of it.
pub(crate) struct Measured {
    /// Readings a second.
    pub(crate) rate: f64,
    /// Processor seconds a million readings: of the server, of Valkey, of the load.
    pub(crate) cost: [f64; 3],
    /// The script calls that stored them.
    pub(crate) size: Size,
}

/// Starts a server on the core of this thread, and sees what it takes.
pub(crate) fn measure(
    shape: Shape,
    variant: Option<&Variant>,
    core: CoreId,
    time: Duration,
) -> Result<Measured> {
    let files = Files::make()?;
    let server = Running::start(variant, shape.acknowledge, core, &files)?;
    let tls =
        ClientTls::load(ClientFiles { ca: Some(files.path("ca.crt")), ..ClientFiles::default() })?.config();
    let target = Target {
        address: server.address.to_string(),
        tls: Some(Tls { config: tls, name: "localhost".try_into()? }),
        token: Some(TOKEN.parse()?),
    };
    let mut options = Options::new(target, vec![shape.kind]);
    (options.sensors, options.messages) = (shape.sensors, shape.messages);
    (options.connections, options.streams) = (shape.connections, shape.streams);
    options.duration = time;

    let processes = [server.process.id(), variant.map_or(0, |variant| variant.server.id()), process::id()];
    let look = || {
        let cpu = processes.map(|id| machine::cpu_time(id).unwrap_or(0.0));
        (cpu, variant.and_then(|variant| Calls::made(variant).ok()).unwrap_or_default())
    };
    // From the end of the warm-up to the last look during the measurement.
    let (mut first, mut last, mut readings) = (look(), look(), 0);
    let report = kelvin_load::run(&options, |progress| {
        *if progress.warm_up { &mut first } else { &mut last } = look();
        readings = progress.readings;
    })?;
    let figures = report.rpc.get(shape.kind.key()).ok_or("no call ended")?;
    if !figures.errors.is_empty() {
        return Err(format!("calls failed:\n{report}").into());
    }
    let cost = [0, 1, 2].map(|at| (last.0[at] - first.0[at]) / readings as f64 * 1e6);
    let size = last.1.since(&first.1, usize::try_from(readings)?);
    Ok(Measured { rate: figures.readings_per_second, cost, size })
}

struct Running {
    process: Process,
    address: SocketAddr,
}

impl Running {
    /// This program again, with what Kelvin has in a cluster: TLS, tokens, analysis.
    fn start(
        variant: Option<&Variant>,
        acknowledge: Acknowledge,
        core: CoreId,
        files: &Files,
    ) -> Result<Self> {
        let mut command = process::Command::new(env::current_exe()?);
        command.args(["serve", &core.id.to_string()]).stdin(Stdio::piped()).stdout(Stdio::piped());
        command
            .env("KELVIN_LISTEN", "127.0.0.1:0")
            .env("KELVIN_HEALTH_LISTEN", "127.0.0.1:0")
            .env("KELVIN_WORKERS", "1")
            .env("KELVIN_TLS_CERT", files.path("server.crt"))
            .env("KELVIN_TLS_KEY", files.path("server.key"))
            .env("KELVIN_TOKEN_FILE", files.path("token"))
            .env("KELVIN_MAX_READINGS_PER_SENSOR", HELD.to_string())
            .env("KELVIN_MAX_SENSORS", "10000000")
            .env("KELVIN_MAX_READINGS", "1000000000");
        if let Some(variant) = variant {
            command.env("KELVIN_STORE", "valkey").env("KELVIN_VALKEY_ADDRESS", variant.address());
            command.env("KELVIN_VALKEY_TIMEOUT", "5s");
            command.env("KELVIN_VALKEY_ACKNOWLEDGE", acknowledge.to_string());
            if let Some(ca) = variant.ca() {
                command.env("KELVIN_VALKEY_TLS_CA", ca);
            }
        }
        let mut process = Process::new(command.spawn()?);
        let mut line = String::new();
        BufReader::new(process.stdout.take().expect("it is a pipe")).read_line(&mut line)?;
        let address = line.trim().parse().map_err(|_| io::Error::other("the server did not start"))?;
        Ok(Self { process, address })
    }
}

/// What the other process does: says where it listens and serves until its standard input closes.
pub(crate) fn serve() -> Result<()> {
    thread::spawn(|| {
        // Nothing ever comes; it ends when the parent does.
        let _ = io::stdin().read(&mut [0]);
        process::exit(0);
    });
    let config = Config::from_env()?;
    let telemetry = Telemetry::builder("kelvin-server", env!("CARGO_PKG_VERSION")).build()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let server = Server::build(config, &telemetry)?;
        let mut out = io::stdout();
        writeln!(out, "{}", server.local_addr())?;
        out.flush()?;
        Ok(server.run(future::pending()).await?)
    })
}
