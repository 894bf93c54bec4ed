//! `kelvin load`: full speed against any server of the contract.

use std::{
    fmt::Write as _,
    io::{self, IsTerminal as _, Write as _},
    path::PathBuf,
    str::FromStr,
    thread,
    time::Duration,
};

use clap::Args;
use http::uri::Authority;
use kelvin_app::{BoxError, error_chain, print};
use kelvin_credentials::{ClientFiles, ClientTls, Tokens};
use kelvin_load::{LoadError, Options, Progress, Target, Tls};
use kelvin_proto::CallType;
use tonic::Code;

use crate::duration;

/// Load-tests a server and reports its throughput and latency
#[derive(Args)]
pub(crate) struct Arguments {
    /// The call type: `unary`, `client-streaming`, `server-streaming`, `bidi-streaming`, or `mixed` for all
    #[arg(long, default_value = "unary")]
    rpc: CallTypes,
    /// Host and port of the server
    #[arg(long, default_value = "localhost:50051")]
    address: String,
    /// The CA bundle that the server is verified with, PEM; without it, the trusted roots of the system
    #[arg(long, value_name = "FILE", conflicts_with = "plaintext")]
    ca: Option<PathBuf>,
    /// The client's own certificate, PEM
    #[arg(long, value_name = "FILE", requires = "key", conflicts_with = "plaintext")]
    cert: Option<PathBuf>,
    /// The key of --cert, PEM
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    /// Name in the server's certificate, if it is not the host of --address
    #[arg(long, value_name = "NAME")]
    server_name: Option<String>,
    /// The file with the token; the first one is sent
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// No TLS
    #[arg(long)]
    plaintext: bool,
    /// Total number of connections
    #[arg(long, default_value_t = 4)]
    connections: usize,
    /// Calls at a time on each connection
    #[arg(long, default_value_t = 32)]
    streams: usize,
    /// Threads; one for each core, unless there are fewer connections
    #[arg(long)]
    threads: Option<usize>,
    /// How long to measure
    #[arg(long, default_value = "10s", value_parser = duration)]
    duration: Duration,
    /// Warm-up before the measurement
    #[arg(long, default_value = "1s", value_parser = duration)]
    warm_up: Duration,
    /// Number of sensors that the readings belong to
    #[arg(long, default_value_t = 100)]
    sensors: usize,
    /// Readings sent or asked for in one call that streams
    #[arg(long, default_value_t = 1000)]
    messages: u64,
    /// Unacknowledged readings allowed on each bidirectional stream
    #[arg(long, default_value_t = 1000)]
    in_flight: u64,
    /// One reading a DATA frame, as most clients send them, instead of as many as fit
    #[arg(long)]
    one_message_a_frame: bool,
    /// One JSON object instead of the table
    #[arg(long)]
    json: bool,
}

/// One call type, or all of them in turn.
#[derive(Clone)]
struct CallTypes(Vec<CallType>);

impl FromStr for CallTypes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "mixed" {
            return Ok(Self(CallType::ALL.to_vec()));
        }
        let call_type = text.parse().map_err(|error| format!("{error}, or `mixed` for all of them"))?;
        Ok(Self(vec![call_type]))
    }
}

/// Prints progress on stderr and the result on stdout; an error when no call succeeded.
pub(crate) fn run(arguments: &Arguments) -> Result<(), BoxError> {
    let options = arguments.options()?;
    let live = io::stderr().is_terminal();
    let report = kelvin_load::run(&options, |progress| tell(progress, live)).map_err(|error| hint(&error))?;
    if live {
        kelvin_app::report("");
    }
    if arguments.json {
        print(&format!("{}\n", serde_json::to_string_pretty(&report)?))?;
    } else {
        print(&report.to_string())?;
    }
    if report.calls() == 0 {
        return Err("no call succeeded".into());
    }
    Ok(())
}

impl Arguments {
    fn options(&self) -> Result<Options, BoxError> {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        Ok(Options {
            connections: self.connections,
            streams: self.streams,
            threads: self.threads.unwrap_or(cores).min(self.connections),
            sensors: self.sensors,
            messages: self.messages,
            in_flight: self.in_flight,
            one_message_a_frame: self.one_message_a_frame,
            warm_up: self.warm_up,
            duration: self.duration,
            ..Options::new(self.target()?, self.rpc.0.clone())
        })
    }

    fn target(&self) -> Result<Target, BoxError> {
        let authority: Authority = self.address.parse().map_err(|_| self.invalid_address())?;
        if authority.port_u16().is_none_or(|port| port == 0) || self.address.contains('@') {
            return Err(self.invalid_address());
        }
        let tls = if self.plaintext {
            None
        } else {
            let files = ClientFiles { ca: self.ca.clone(), cert: self.cert.clone(), key: self.key.clone() };
            let host = authority.host().trim_matches(['[', ']']);
            let name = self.server_name.as_deref().unwrap_or(host).to_owned();
            let invalid = format!("{name:?} is not a host name");
            let name = name.try_into().map_err(|_| invalid)?;
            Some(Tls { config: ClientTls::load(files)?.config(), name })
        };
        let token = match &self.token_file {
            None => None,
            Some(file) => Some(Tokens::load(file)?.first().parse()?),
        };
        Ok(Target { address: self.address.clone(), tls, token })
    }

    fn invalid_address(&self) -> BoxError {
        let address = &self.address;
        format!("--address {address:?} is not host:port, such as localhost:50051 or [::1]:50051").into()
    }
}

/// What to do about a load that cannot start.
fn hint(error: &LoadError) -> BoxError {
    let advice = match error {
        LoadError::Unreachable { .. } => "is the server running, and is --address right?",
        LoadError::Tls { .. } => {
            "--ca must have signed the server's certificate, and the certificate must contain --server-name; --plaintext is for a server without TLS"
        }
        LoadError::NotHttp2(_) => "is it a gRPC server?",
        LoadError::FirstCall { status, .. } => match status.code() {
            Code::Unauthenticated => "give the server's token with --token-file",
            Code::Unimplemented => "is it a server of sensor.proto?",
            Code::Unavailable | Code::Internal => {
                "a server with a private CA needs --ca, one with mTLS --cert and --key, one without TLS --plaintext"
            }
            _ => "",
        },
        LoadError::Options(_) | LoadError::Start(_) => "",
    };
    let text = error_chain(error);
    if advice.is_empty() { text.into() } else { format!("{text} ({advice})").into() }
}

/// One line that stays in its place, or one a second.
fn tell(progress: &Progress, in_place: bool) {
    let mut line = String::from(if progress.warm_up { "warm-up " } else { "" });
    let seconds = progress.elapsed.as_secs_f64();
    let Progress { calls_per_second, readings_per_second, failures, .. } = progress;
    let _ =
        write!(line, "{seconds:.0} s: {calls_per_second:.0} calls/s, {readings_per_second:.0} readings/s");
    if *failures > 0 {
        let _ = write!(line, ", {failures} errors");
    }
    if in_place {
        let _ = write!(io::stderr(), "\r\x1b[2K{line}");
        let _ = io::stderr().flush();
    } else {
        kelvin_app::report(&line);
    }
}
