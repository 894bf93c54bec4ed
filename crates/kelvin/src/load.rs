//! `kelvin load`: load-tests any server of the API.

use std::{
    error::Error,
    fmt::Write as _,
    io::{self, IsTerminal as _, Write as _},
    path::PathBuf,
    str::FromStr,
    thread,
    time::Duration,
};

use clap::{Args, builder::RangedU64ValueParser};
use kelvin_app::{BoxError, UsageError, error_chain, host_and_port, print};
use kelvin_credentials::{ClientFiles, ClientTls, Role, Tokens};
use kelvin_load::{LoadError, Options, Progress, ServerName, Target, Tls};
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
    #[arg(long, default_value = "localhost:50051", value_parser = address)]
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
    #[arg(long, value_name = "NAME", value_parser = server_name)]
    server_name: Option<ServerName<'static>>,
    /// File with the token; only the first token in it is sent
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// No TLS
    #[arg(long)]
    plaintext: bool,
    /// Total number of connections
    #[arg(long, default_value_t = 4, value_parser = up_to(100_000))]
    connections: usize,
    /// Concurrent calls per connection
    #[arg(long, default_value_t = 32, value_parser = up_to(100_000))]
    streams: usize,
    /// Worker threads; by default one per core, but at most one per connection
    #[arg(long, value_parser = up_to(1024))]
    threads: Option<usize>,
    /// How long to measure
    #[arg(long, default_value = "10s", value_parser = duration::parse)]
    duration: Duration,
    /// Warm-up before the measurement
    #[arg(long, default_value = "1s", value_parser = duration::parse)]
    warm_up: Duration,
    /// Number of sensors that the readings belong to
    #[arg(long, default_value_t = 100, value_parser = up_to(1_000_000))]
    sensors: usize,
    /// Readings to send or request per streaming call
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    messages: u64,
    /// Unacknowledged readings allowed on each bidirectional stream
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..))]
    in_flight: u64,
    /// Send one reading per HTTP/2 DATA frame, as most clients do, instead of as many as fit
    #[arg(long)]
    one_message_per_frame: bool,
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
    let report = kelvin_load::run(&options, |progress| print_progress(progress, live))
        .map_err(|error| hint(&error))?;
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
            one_message_per_frame: self.one_message_per_frame,
            warm_up: self.warm_up,
            duration: self.duration,
            ..Options::new(self.target()?, self.rpc.0.clone())
        })
    }

    fn target(&self) -> Result<Target, BoxError> {
        let tls = if self.plaintext {
            None
        } else {
            let files = ClientFiles { ca: self.ca.clone(), cert: self.cert.clone(), key: self.key.clone() };
            let tls = ClientTls::load(files).map_err(|error| invalid(option(error.role()), &error))?;
            let host = self.address.rsplit_once(':').map_or("", |(host, _)| host);
            let name = match &self.server_name {
                Some(name) => name.clone(),
                None => server_name(host).map_err(|error| UsageError(format!("--address: {error}")))?,
            };
            Some(Tls { config: tls.config(), name })
        };
        let token = match &self.token_file {
            None => None,
            Some(file) => {
                let tokens = Tokens::load(file).map_err(|error| invalid(option(error.role()), &error))?;
                Some(tokens.first().parse()?)
            }
        };
        Ok(Target { address: self.address.clone(), tls, token })
    }
}

fn invalid(option: &str, error: &(dyn Error + 'static)) -> UsageError {
    UsageError(format!("{option}: {}", error_chain(error)))
}

/// Returns the option that names the file of this role.
fn option(role: Role) -> &'static str {
    match role {
        Role::Ca => "--ca",
        Role::Key | Role::ExternalKey => "--key",
        Role::Tokens => "--token-file",
        // A load test has no password file.
        Role::Certificate | Role::ExternalCertificate | Role::Password => "--cert",
    }
}

/// Whole numbers from 1 to `most`; far more would only use up memory.
fn up_to(most: u64) -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(1..=most)
}

fn address(text: &str) -> Result<String, String> {
    match host_and_port(text) {
        Some(_) => Ok(text.to_owned()),
        None => Err("expected host:port, such as localhost:50051 or [::1]:50051".into()),
    }
}

fn server_name(host: &str) -> Result<ServerName<'static>, String> {
    let host = host.trim_matches(['[', ']']).to_owned();
    ServerName::try_from(host).map_err(|_| "expected a host name or an IP address".into())
}

/// Adds to the error what to do about it.
fn hint(error: &LoadError) -> BoxError {
    let advice = match error {
        LoadError::Unreachable { .. } => "is the server running, and is --address right?",
        LoadError::Tls { .. } => {
            "--ca must have signed the server's certificate, and the certificate must contain --server-name; --plaintext is for a server without TLS"
        }
        LoadError::NotHttp2(_) => "is it a gRPC server?",
        LoadError::FirstCall { status, .. } => match status.code() {
            Code::Unauthenticated => "give the server's token with --token-file",
            Code::Unimplemented => "does the server implement sensor.proto?",
            Code::Unavailable | Code::Internal => {
                "a server with a private CA needs --ca, one with mTLS --cert and --key, one without TLS --plaintext"
            }
            _ => "",
        },
        LoadError::Options(text) => return UsageError((*text).into()).into(),
        LoadError::Start(_) => "",
    };
    let text = error_chain(error);
    if advice.is_empty() { text.into() } else { format!("{text} ({advice})").into() }
}

/// Prints one line that is updated in place, or one line per second.
fn print_progress(progress: &Progress, in_place: bool) {
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
