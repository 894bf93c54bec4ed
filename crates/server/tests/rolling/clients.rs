//! The clients: tonic's in this process, those of grpc-go and grpcio in processes of their own.

use std::{
    fmt::Write as _,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use kelvin_testing::was_never_processed;
use prost::Message as _;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader},
    process::{Child, ChildStdout, Command},
    task::JoinHandle,
    time::sleep,
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

    /// Returns the program that the client is built or run with.
    pub(crate) const fn needs(self) -> &'static str {
        match self {
            Self::Tonic => "nothing",
            Self::GrpcGo => "go",
            Self::Grpcio => "python3",
        }
    }

    /// Starts steady calls; none where the client cannot be built.
    pub(crate) async fn start(self, server: SocketAddr, files: &Files) -> Option<Calls> {
        let command = match self {
            Self::Tonic => return Some(Calls::Here(HereCalls::start(server, files).await)),
            Self::GrpcGo => Command::new(go_client().await?),
            Self::Grpcio => {
                let mut command = Command::new(python().await?);
                command.arg(folder().join("client.py"));
                command
            }
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
    process: Child,
    output: BufReader<ChildStdout>,
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
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the client starts");
        let mut output = BufReader::new(process.stdout.take().expect("it is a pipe"));
        let mut line = String::new();
        tokio::time::timeout(PATIENCE, output.read_line(&mut line))
            .await
            .expect("the client is ready in time")
            .expect("its output can be read");
        assert_eq!(line, "ready\n");
        Self { process, output }
    }

    async fn end(mut self) -> Tally {
        drop(self.process.stdin.take());
        let mut text = String::new();
        self.output.read_to_string(&mut text).await.expect("its output can be read");
        assert!(self.process.wait().await.expect("it was waited for").success(), "{text}");
        let mut lines = text.lines();
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
async fn go_client() -> Option<PathBuf> {
    installed("go", "version").await?;
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("rolling-go");
    run(Command::new("go").arg("build").arg("-o").arg(&program).arg(".").current_dir(folder())).await;
    Some(program)
}

/// A Python with grpcio.
async fn python() -> Option<PathBuf> {
    installed("python3", "--version").await?;
    Some(tokio::task::spawn_blocking(support::grpcio::environment).await.expect("it is made"))
}

async fn installed(program: &str, argument: &str) -> Option<()> {
    let output = Command::new(program).arg(argument).output().await.ok()?;
    output.status.success().then_some(())
}

async fn run(command: &mut Command) {
    let output = command.output().await.expect("it starts");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
