//! What `grpc-otel` costs a server: the same tonic service without the layer, with no-op providers, with metrics, and
//! with metrics and spans of a tenth and of all calls.
//!
//! Every variant is a process of its own on one core, the load runs on another, and the variants take turns in short
//! runs, so that what else happens on the machine happens to all of them. What is compared is processor time.

mod load;
#[path = "../../machine.rs"]
#[expect(dead_code, reason = "processor time is read in finer steps here")]
mod machine;
mod variant;

use std::{
    error::Error,
    fs,
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
    time::Duration,
};

use clap::{Parser, Subcommand, ValueEnum as _};
use core_affinity::CoreId;
use tokio::runtime::Builder;

use load::{Case, Done};
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
    command: Option<Serve>,
}

#[derive(Subcommand)]
enum Serve {
    #[command(hide = true)]
    Serve { variant: Variant, core: usize },
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let runtime = Builder::new_current_thread().enable_all().build()?;
    if let Some(Serve::Serve { variant, core }) = arguments.command {
        machine::pin(CoreId { id: core })?;
        return runtime.block_on(variant.serve());
    }

    let (server_core, load_core) = machine::two_cores()?;
    let peers = Variant::value_variants()
        .iter()
        .map(|v| Peer::start(*v, server_core))
        .collect::<Result<Vec<_>, _>>()?;
    machine::pin(load_core)?;
    println!("{:<18}{:<18}{:>14}{:>10}{:>10}", "call", "variant", "1/s per core", "ratio", "quartiles");
    for case in Case::value_variants().iter().filter(|case| arguments.only.is_none_or(|only| only == **case))
    {
        let mut costs = vec![Vec::new(); peers.len()];
        for round in 0..=arguments.rounds {
            for turn in 0..peers.len() {
                // Another one begins each time, as the first after a pause has it harder.
                let turn = (turn + round) % peers.len();
                let cost =
                    runtime.block_on(peers[turn].measure(*case, Duration::from_millis(arguments.millis)))?;
                if round > 0 {
                    costs[turn].push(cost);
                }
            }
        }
        for (peer, cost) in peers.iter().zip(&costs) {
            let mut ratios: Vec<_> = costs[0].iter().zip(cost).map(|(bare, cost)| bare / cost).collect();
            ratios.sort_by(f64::total_cmp);
            let at = |quarter: usize| ratios[(ratios.len() - 1) * quarter / 4];
            let rate = cost.len() as f64 / cost.iter().sum::<f64>();
            println!(
                "{:<18}{:<18}{rate:>14.0}{:>10.3}   {:.3}–{:.3}",
                format!("{case:?}"),
                format!("{:?}", peer.variant),
                at(2),
                at(1),
                at(3)
            );
        }
    }
    Ok(())
}

/// A server in a process of its own, which ends with this one.
struct Peer {
    variant: Variant,
    process: Child,
    port: u16,
}

impl Peer {
    fn start(variant: Variant, core: CoreId) -> Result<Self, Box<dyn Error>> {
        let name = variant.to_possible_value().expect("no variant is skipped");
        let mut process = Command::new(std::env::current_exe()?)
            .args(["serve", name.get_name(), &core.id.to_string()])
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        BufReader::new(process.stdout.take().expect("piped")).read_line(&mut line)?;
        Ok(Self { variant, process, port: line.trim().parse()? })
    }

    /// Seconds of processor time for one call or message.
    async fn measure(&self, case: Case, time: Duration) -> Result<f64, Box<dyn Error>> {
        let mut load = load::connect(self.port, case).await?;
        load.run(Duration::from_millis(50)).await?;
        let before = self.cpu_time()?;
        let Done(amount) = load.run(time).await?;
        Ok(self.cpu_time()?.saturating_sub(before).as_secs_f64() / amount as f64)
    }

    /// Processor time of all its threads, from the scheduler: far finer than the ticks of `/proc/*/stat`.
    fn cpu_time(&self) -> Result<Duration, Box<dyn Error>> {
        let mut nanos = 0;
        for thread in fs::read_dir(format!("/proc/{}/task", self.process.id()))? {
            let times = fs::read_to_string(thread?.path().join("schedstat"))?;
            nanos += times.split(' ').next().ok_or("schedstat is empty")?.parse::<u64>()?;
        }
        Ok(Duration::from_nanos(nanos))
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
