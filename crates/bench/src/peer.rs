//! A server in a process of its own, on a core of its own.

use std::{
    env,
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
};

use clap::ValueEnum;
use core_affinity::CoreId;
use tokio::{net::TcpListener, runtime::Builder};

use crate::{bare, cases::READINGS_PER_SENSOR, files::Files, kelvin, machine};

/// Who is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Peer {
    Kelvin,
    Bare,
}

impl Peer {
    pub(crate) const BOTH: [Self; 2] = [Self::Kelvin, Self::Bare];
}

/// A running server; it ends when this is dropped.
pub(crate) struct Running {
    child: Child,
    pub address: SocketAddr,
}

impl Running {
    /// Starts this program again as a server.
    pub(crate) fn start(peer: Peer, core: CoreId, files: &Files, telemetry: &str) -> io::Result<Self> {
        let name = peer.to_possible_value().expect("no peer is hidden");
        let mut child = Command::new(env::current_exe()?)
            .args(["serve", name.get_name(), &core.id.to_string()])
            .arg(files.folder.path())
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", telemetry)
            .env("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
            .env("OTEL_TRACES_SAMPLER_ARG", "0.1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("it is a pipe")).read_line(&mut line)?;
        let address = line.trim().parse().map_err(|_| io::Error::other(format!("{name:?} did not start")))?;
        Ok(Self { child, address })
    }

    pub(crate) fn cpu_time(&self) -> Option<f64> {
        machine::cpu_time(self.child.id())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the other process does: says where it listens and serves until its standard input closes.
pub(crate) fn serve(peer: Peer, core: usize, files: &Path) -> Result<(), Box<dyn std::error::Error>> {
    machine::pin(CoreId { id: core })?;
    thread::spawn(|| {
        // Nothing ever comes; it ends when the parent does.
        let _ = io::stdin().read(&mut [0]);
        std::process::exit(0);
    });
    match peer {
        Peer::Kelvin => kelvin::serve(files, say),
        Peer::Bare => Builder::new_current_thread().enable_all().build()?.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            say(listener.local_addr()?)?;
            let service = bare::service(READINGS_PER_SENSOR);
            Ok(bare::server(files)?
                .add_service(service)
                .serve_with_incoming(bare::incoming(listener))
                .await?)
        }),
    }
}

fn say(address: SocketAddr) -> io::Result<()> {
    let mut out = io::stdout();
    writeln!(out, "{address}")?;
    out.flush()
}
