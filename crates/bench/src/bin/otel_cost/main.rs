//! What `grpc-otel` costs a server: the same tonic service without the layer, with no-op providers, with a propagator
//! alone, with metrics, and with metrics and spans of a tenth and of all calls. First in this process, in instructions
//! and nanoseconds; then under load, beside what the official plugin costs grpc-go.
//!
//! Every server under load is a process on one core, the load runs on another. In each round every variant has its turn,
//! in a new process, as where a process has its memory makes it quicker or slower by some percent. What is compared is
//! processor time, so what else runs on the machine counts little.

mod in_process;
mod instructions;
mod turn;
mod variant;

use std::{error::Error, path::PathBuf, time::Duration};

use clap::{Parser, Subcommand, ValueEnum as _};
use core_affinity::CoreId;
use kelvin_bench::files::Files;
use kelvin_credentials::{ClientFiles, ClientTls};
use kelvin_testing::machine;
use tokio::runtime::Builder;

use turn::{Case, Cost, Server, Turn};
use variant::Variant;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The official plugin may cost grpc-go so many times what this layer costs, at least.
const GOAL_AGAINST_GO: f64 = 12.0;

/// Turns in one process are short, so that there are so many times as many.
const SHORT: usize = 10;

#[derive(Parser)]
#[command(
    about = "Measures what grpc-otel costs per call, compared with grpc-go's OpenTelemetry plugin",
    version
)]
struct Arguments {
    /// Number of rounds; every variant is measured once per round
    #[arg(long, default_value_t = 20)]
    rounds: usize,
    /// Milliseconds per measurement
    #[arg(long, default_value_t = 500)]
    millis: u64,
    /// Measure only this kind of call
    #[arg(long)]
    only: Option<Case>,
    /// Path of the grpc-go server to compare with (crates/bench/go)
    #[arg(long)]
    go: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Measure only unary calls, in one process without a transport
    InProcess {
        /// Run only the calls of this variant, for callgrind
        #[arg(long)]
        variant: Option<Variant>,
    },
    #[command(hide = true)]
    Serve { variant: Variant, core: usize, files: PathBuf },
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    match arguments.command {
        Some(Command::Serve { variant, core, files }) => {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            variant.serve(&runtime, CoreId { id: core }, &files)
        }
        Some(Command::InProcess { variant: Some(variant) }) => in_process::run(variant, arguments.rounds),
        Some(Command::InProcess { variant: None }) => in_process::compare(SHORT * arguments.rounds),
        None => {
            in_process::compare(SHORT * arguments.rounds)?;
            compare(&arguments)
        }
    }
}

/// In each round every server has its turn.
fn compare(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let (server_core, load_core) = machine::two_cores()?;
    machine::pin(load_core)?;
    let files = Files::make()?;
    let tls = ClientTls::load(ClientFiles { ca: Some(files.path("ca.crt")), ..ClientFiles::default() })?;
    let turn = Turn { server_core, files, tls: tls.config(), time: Duration::from_millis(arguments.millis) };
    println!(
        "\n{:<18}{:<10}{:>13}{:>8}{:>13}{:>24}{:>15}",
        "call", "variant", "calls/s/core", "ratio", "quartiles", "with the SDK's threads", "µs over bare"
    );
    let tonic: Vec<_> = Variant::value_variants().iter().copied().map(Server::Tonic).collect();
    let go = arguments
        .go
        .iter()
        .flat_map(|program| [false, true].map(|plugin| Server::Go { program: program.clone(), plugin }));
    let all: Vec<_> = tonic.iter().cloned().chain(go).collect();
    for case in Case::value_variants().iter().filter(|case| arguments.only.is_none_or(|only| only == **case))
    {
        let servers = if *case == Case::Unary { &all } else { &tonic };
        let mut costs = vec![Vec::new(); servers.len()];
        for round in 0..arguments.rounds {
            for place in 0..servers.len() {
                // Another one begins each time.
                let place = (place + round) % servers.len();
                costs[place].push(turn.measure(&servers[place], *case)?);
            }
        }
        for (place, server) in servers.iter().enumerate() {
            let bare = if place < tonic.len() { 0 } else { tonic.len() };
            print_row(*case, server, &costs[bare], &costs[place]);
        }
        if servers.len() > tonic.len() {
            let spans = Variant::value_variants().iter().position(|variant| *variant == Variant::Spans10);
            let ours = over(&costs[0], &costs[spans.expect("it is one of them")]);
            let theirs = over(&costs[tonic.len()], &costs[tonic.len() + 1]);
            let verdict = if theirs / ours >= GOAL_AGAINST_GO { "reached" } else { "MISSED" };
            println!(
                "grpc-go's plugin costs {:.1} times what Spans10 does (goal: at least {GOAL_AGAINST_GO}, {verdict})",
                theirs / ours
            );
        }
    }
    if arguments.go.is_none() {
        println!("grpc-go: NOT RUN (--go is not set)");
    }
    Ok(())
}

/// Processor time of all threads for a call over that of the bare server, in microseconds: the median of the rounds.
fn over(bare: &[Cost], costs: &[Cost]) -> f64 {
    let mut over: Vec<_> = bare.iter().zip(costs).map(|(bare, cost)| (cost.all - bare.all) * 1e6).collect();
    over.sort_by(f64::total_cmp);
    over[over.len() / 2]
}

fn print_row(case: Case, server: &Server, bare: &[Cost], costs: &[Cost]) {
    let ratios = |of: fn(&Cost) -> f64| {
        let mut ratios: Vec<_> = bare.iter().zip(costs).map(|(bare, cost)| of(bare) / of(cost)).collect();
        ratios.sort_by(f64::total_cmp);
        move |quarter: usize| ratios[(ratios.len() - 1) * quarter / 4]
    };
    let (serving, all) = (ratios(|cost| cost.serving), ratios(|cost| cost.all));
    let rate = costs.len() as f64 / costs.iter().map(|cost| cost.serving).sum::<f64>();
    println!(
        "{:<18}{:<10}{rate:>13.0}{:>8.3}{:>13}{:>24.3}{:>15.2}",
        format!("{case:?}"),
        server.name(),
        serving(2),
        format!("{:.3}–{:.3}", serving(1), serving(3)),
        all(2),
        over(bare, costs),
    );
}
