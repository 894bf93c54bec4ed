//! The clients: tonic's in this process, those of grpc-go and grpcio in processes of their own.

use std::{
    fmt::Write as _,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{ChildStdout, Command, Stdio},
    time::Duration,
};

use kelvin_testing::{Lines, Process, is_installed, was_never_processed};
use prost::Message as _;
use tokio::{
    task::{JoinHandle, spawn_blocking},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tonic::transport::Endpoint;

use crate::{
    Tally,
    support::{self, Files, PATIENCE, TOKEN, reading},
};

/// Calls at a time on the one channel, and the pause of each caller between two of them.
const CALLERS: usize = 4;
const PAUSE: Duration = Duration::from_millis(2);

/// Stands before a failure that only the client can prevent: by sending the call again on another connection.
pub(crate) const NEVER_PROCESSED: &str = "never processed: ";

#[derive(Clone, Copy, Debug)]
pub(crate) enum Client {
    Tonic,
    GrpcGo,
    Grpcio,
}

impl Client {
    pub(crate) const ALL: [Self; 3] = [Self::Tonic, Self::GrpcGo, Self::Grpcio];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Tonic => "tonic",
            Self::GrpcGo => "grpc-go",
            Self::Grpcio => "grpcio",
        }
    }

    /// Starts steady calls; none where what the client is built or run with is not installed.
    pub(crate) async fn start(self, server: SocketAddr, files: &Files) -> Option<Calls> {
        let command = match self {
            Self::Tonic => return Some(Calls::Here(HereCalls::start(server, files).await)),
            Self::GrpcGo if is_installed("go", "version") => {
                Command::new(spawn_blocking(go_client).await.expect("it is built"))
            }
            Self::Grpcio if is_installed("python3", "--version") => {
                let python = spawn_blocking(support::grpcio::environment).await.expect("it is made");
                let mut command = Command::new(python);
                command.arg(folder().join("client.py"));
                command
            }
            Self::GrpcGo | Self::Grpcio => return None,
        };
        Some(Calls::Process(Box::new(ProcessCalls::start(command, server, files).await)))
    }
}

pub(crate) enum Calls {
    Here(HereCalls),
    Process(Box<ProcessCalls>),
}

impl Calls {
    pub(crate) async fn end(self) -> Tally {
        match self {
            Self::Here(calls) => calls.end().await,
            Self::Process(calls) => calls.end().await,
        }
    }
}

pub(crate) struct HereCalls {
    end: CancellationToken,
    callers: Vec<JoinHandle<Tally>>,
}

impl HereCalls {
    async fn start(server: SocketAddr, files: &Files) -> Self {
        let endpoint = Endpoint::from_static("http://localhost");
        let channel =
            support::connect_by(endpoint, server, files.client_tls(None)).await.expect("it connects");
        let end = CancellationToken::new();
        let callers = (0..CALLERS).map(|_| {
            let (mut client, end) = (support::client(channel.clone(), TOKEN), end.clone());
            tokio::spawn(async move {
                let mut tally = Tally::default();
                while !end.is_cancelled() {
                    tally.calls += 1;
                    if let Err(status) =
                        client.send_single_reading(reading("rolling", 20.5, 1_700_000_000)).await
                    {
                        let whose = if was_never_processed(&status) { NEVER_PROCESSED } else { "" };
                        let failure = format!("{whose}{:?}: {}", status.code(), status.message());
                        *tally.failures.entry(failure).or_default() += 1;
                    }
                    sleep(PAUSE).await;
                }
                tally
            })
        });
        Self { callers: callers.collect(), end }
    }

    async fn end(self) -> Tally {
        self.end.cancel();
        let mut all = Tally::default();
        for caller in self.callers {
            let tally = caller.await.expect("the caller ends");
            all.calls += tally.calls;
            for (failure, count) in tally.failures {
                *all.failures.entry(failure).or_default() += count;
            }
        }
        all
    }
}

/// A client that says `ready` after its first call, calls until its standard input ends, and then writes
/// `calls N` and a line `COUNT TEXT` for each kind of failure.
pub(crate) struct ProcessCalls {
    process: Process,
    output: Lines<ChildStdout>,
}

impl ProcessCalls {
    async fn start(mut command: Command, server: SocketAddr, files: &Files) -> Self {
        let payload = reading("rolling", 20.5, 1_700_000_000).encode_to_vec();
        let hex = payload.iter().fold(String::new(), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        });
        command.arg(format!("localhost:{}", server.port())).arg(files.path("ca.pem")).args([TOKEN, &hex]);
        command.args([CALLERS.to_string(), PAUSE.as_millis().to_string()]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = Process::new(command.spawn().expect("the client starts"));
        let mut output = process.lines();
        let ready = spawn_blocking(move || {
            output.until("ready");
            output
        });
        let output = timeout(PATIENCE, ready).await.expect("the client is ready in time");
        Self { process, output: output.expect("the client is ready") }
    }

    async fn end(mut self) -> Tally {
        drop(self.process.stdin.take());
        let lines = spawn_blocking(|| self.output.collect::<Vec<_>>()).await.expect("its output can be read");
        assert!(self.process.exit_status().await.success(), "{lines:?}");
        let mut lines = lines.iter();
        let calls =
            lines.next().and_then(|line| line.strip_prefix("calls ")).expect("it says how many calls");
        let failures = lines.map(|line| {
            let (count, failure) = line.split_once(' ').expect("a count and a failure");
            (failure.to_owned(), count.parse().expect("the count is a number"))
        });
        Tally { calls: calls.parse().expect("the count is a number"), failures: failures.collect() }
    }
}

fn folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/rolling"))
}

/// The program made from `client.go`.
fn go_client() -> PathBuf {
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("rolling-go");
    let mut build = Command::new("go");
    build.arg("build").arg("-o").arg(&program).arg(".").current_dir(folder());
    let output = build.output().expect("it starts");
    assert!(output.status.success(), "{build:?}: {}", String::from_utf8_lossy(&output.stderr));
    program
}
