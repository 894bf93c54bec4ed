//! What `grpc-otel` costs a server: the same tonic service without the layer, with no-op providers, with metrics, and
//! with metrics and spans of a tenth and of all calls.
//!
//! Every server is a process on one core, the load runs on another. In each round every variant has its turn, in a new
//! process, as where a process has its memory makes it quicker or slower by some percent. What is compared is
//! processor time, so what else runs on the machine counts little.

mod in_process;
mod turn;
mod variant;

use std::{error::Error, path::PathBuf, time::Duration};

use clap::{Parser, Subcommand, ValueEnum as _};
use core_affinity::CoreId;
use kelvin_bench::files::Files;
use kelvin_credentials::{ClientFiles, ClientTls};
use kelvin_testing::machine;
use tokio::runtime::Builder;

use turn::{Case, Cost, Turn};
use variant::Variant;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
#[command(about, version)]
struct Arguments {
    /// Rounds in which every variant has its turn
    #[arg(long, default_value_t = 20)]
    rounds: usize,
    /// Milliseconds of one turn
    #[arg(long, default_value_t = 500)]
    millis: u64,
    /// Only this kind of call
    #[arg(long)]
    only: Option<Case>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Unary calls in one process without a transport: nanoseconds, not ratios
    InProcess {
        /// Only this one, such as for callgrind
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
        Some(Command::InProcess { variant }) => {
            let all = Variant::value_variants();
            in_process::compare(variant.as_ref().map_or(all, std::slice::from_ref), arguments.rounds)
        }
        None => compare(&arguments),
    }
}

/// In each round every variant has its turn.
fn compare(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let (server_core, load_core) = machine::two_cores()?;
    machine::pin(load_core)?;
    let files = Files::make()?;
    let tls = ClientTls::load(ClientFiles { ca: Some(files.path("ca.crt")), ..ClientFiles::default() })?;
    let turn = Turn { server_core, files, tls: tls.config(), time: Duration::from_millis(arguments.millis) };
    println!(
        "{:<18}{:<10}{:>13}{:>8}{:>13}{:>24}",
        "call", "variant", "1/s per core", "ratio", "quartiles", "with the SDK's threads"
    );
    let variants = Variant::value_variants();
    for case in Case::value_variants().iter().filter(|case| arguments.only.is_none_or(|only| only == **case))
    {
        let mut costs = vec![Vec::new(); variants.len()];
        for round in 0..arguments.rounds {
            for place in 0..variants.len() {
                // Another one begins each time.
                let place = (place + round) % variants.len();
                costs[place].push(turn.measure(variants[place], *case)?);
            }
        }
        for (variant, cost) in variants.iter().zip(&costs) {
            tell(*case, *variant, &costs[0], cost);
        }
    }
    Ok(())
}

fn tell(case: Case, variant: Variant, bare: &[Cost], costs: &[Cost]) {
    let ratios = |of: fn(&Cost) -> f64| {
        let mut ratios: Vec<_> = bare.iter().zip(costs).map(|(bare, cost)| of(bare) / of(cost)).collect();
        ratios.sort_by(f64::total_cmp);
        move |quarter: usize| ratios[(ratios.len() - 1) * quarter / 4]
    };
    let (serving, all) = (ratios(|cost| cost.serving), ratios(|cost| cost.all));
    let rate = costs.len() as f64 / costs.iter().map(|cost| cost.serving).sum::<f64>();
    println!(
        "{:<18}{:<10}{rate:>13.0}{:>8.3}{:>13}{:>24.3}",
        format!("{case:?}"),
        format!("{variant:?}"),
        serving(2),
        format!("{:.3}–{:.3}", serving(1), serving(3)),
        all(2),
    );
}
