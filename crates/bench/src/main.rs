//! What is measured, and the peers it is measured against.
//!
//! Kelvin against a bare tonic service of the same contract, both over TLS, each server on one core and the load on
//! another, in rounds that alternate. Ratios of one run can be compared with those of another; figures cannot.

mod bare;
mod cases;
mod compare;
mod files;
mod kelvin;
mod machine;
mod peer;
mod report;
mod sink;

use std::{error::Error, path::PathBuf, process::ExitCode, time::Duration};

use clap::{Parser, Subcommand};

use cases::CASES;
use compare::Bench;
use peer::Peer;
use report::Table;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
#[command(about, version)]
struct Arguments {
    /// Only what has this in its name: unary, client-streaming, client-streaming-1 (one message a frame), chat, get
    #[arg(long, default_value = "")]
    only: String,
    /// Rounds of each server and call
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Seconds of each run that are measured
    #[arg(long, default_value_t = 3)]
    seconds: u64,
    /// One JSON object instead of the table
    #[arg(long)]
    json: bool,
    /// Fail when a goal is not reached
    #[arg(long)]
    check: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    #[command(hide = true)]
    Serve { peer: Peer, core: usize, files: PathBuf },
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let arguments = Arguments::parse();
    if let Some(Command::Serve { peer, core, files }) = arguments.command {
        peer::serve(peer, core, &files)?;
        return Ok(ExitCode::SUCCESS);
    }
    let seconds = Duration::from_secs(arguments.seconds);
    let bench = Bench::new(arguments.rounds as usize, Duration::from_secs(1), seconds)?;
    let comparisons = CASES
        .iter()
        .filter(|case| case.name.contains(&arguments.only))
        .map(|case| bench.compare(case, |line| eprintln!("{line}")))
        .collect::<Result<Vec<_>, _>>()?;
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&comparisons)?);
    } else {
        print!("{}", Table(&comparisons));
    }
    let reached = comparisons.iter().all(compare::Comparison::reached);
    Ok(if arguments.check && !reached { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
