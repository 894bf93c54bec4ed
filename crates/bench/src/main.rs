//! Kelvin against its strongest peers, in one run and interleaved: the server on one core, the load generator on the
//! other, TLS everywhere. The criterion is server CPU per operation, which other work on the machine and a slow load
//! generator disturb least. Ratios of one run can be compared with those of another; absolute figures cannot.

mod cases;
mod compare;
mod idle;
mod peer;
mod peers;
mod report;
mod sink;

use std::{env, error::Error, net::SocketAddr, path::PathBuf, process::ExitCode, time::Duration};

use clap::{Parser, Subcommand};
use kelvin_bench::goals::Goals;

use cases::CASES;
use compare::Bench;
use peer::{Peer, Programs};
use report::Table;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
#[command(about = "Benchmarks kelvin-server against tuned tonic, bare h2 and grpc-go servers", version)]
struct Arguments {
    /// Run only the workloads whose name contains this: unary, client-streaming, client-streaming-1 (one message per frame), chat,
    /// chat-1, get
    #[arg(long, default_value = "")]
    only: String,
    /// Peers to measure, separated by commas; all that are available by default
    #[arg(long, value_enum, value_delimiter = ',')]
    peers: Vec<Peer>,
    /// Number of rounds; every peer is measured once per round
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Seconds per measurement, after one second of warm-up
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(2..))]
    seconds: u64,
    /// Path of the kelvin-server of this commit; by default the one next to this program
    #[arg(long)]
    kelvin: Option<PathBuf>,
    /// Path of a kelvin-server of an older commit to compare with
    #[arg(long)]
    base: Option<PathBuf>,
    /// Path of the grpc-go server to compare with
    #[arg(long)]
    go: Option<PathBuf>,
    /// Print one JSON object instead of the table
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    goals: Goals,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    #[command(hide = true)]
    Serve { peer: Peer, address: SocketAddr, files: PathBuf },
    #[command(hide = true)]
    Pinned {
        core: usize,
        program: PathBuf,
        #[arg(last = true)]
        arguments: Vec<String>,
    },
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let arguments = Arguments::parse();
    match arguments.command {
        Some(Command::Serve { peer, address, files }) => {
            peer::serve(peer, address, &files)?;
            return Ok(ExitCode::SUCCESS);
        }
        Some(Command::Pinned { core, program, arguments }) => {
            return Err(peer::pinned(core, &program, &arguments).into());
        }
        None => {}
    }
    let beside = env::current_exe()?.with_file_name("kelvin-server");
    let programs =
        Programs { kelvin: arguments.kelvin.unwrap_or(beside), base: arguments.base, go: arguments.go };
    let peers = if arguments.peers.is_empty() { Peer::available(&programs) } else { arguments.peers };
    let bench =
        Bench::new(programs, peers, arguments.rounds as usize, Duration::from_secs(arguments.seconds))?;
    let comparisons = CASES
        .iter()
        .filter(|case| case.name.contains(&arguments.only))
        .map(|case| bench.compare(case))
        .collect::<Result<Vec<_>, _>>()?;
    let idle = bench.idle()?;
    if arguments.json {
        println!(
            "{}",
            serde_json::to_string_pretty(&serde_json::json!({ "loads": comparisons, "idle": idle }))?
        );
    } else {
        print!("{}{idle}", Table(&comparisons));
    }
    let reached = comparisons.iter().all(compare::Comparison::reached) && idle.reached();
    Ok(arguments.goals.exit_code(reached))
}
