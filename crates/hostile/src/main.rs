//! Attacks the server's release binary over loopback, and asserts what it costs: resident memory, log volume, spans
//! exported, and what well-behaved callers see meanwhile. Honest callers beside the limits are cases too.

mod attack;
mod attacks;
mod client;
mod frames;
mod honest;
mod witness;
mod world;

use std::{
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use clap::Parser;
use tokio::{runtime, time::timeout};

use crate::{
    attacks::Case,
    witness::{Seen, Witness},
    world::{EXPORT_INTERVAL, Failure, World, text},
};

/// Attacks the server's release binary over loopback.
#[derive(Debug, Parser)]
#[command(version)]
struct Options {
    /// Run only the cases whose name contains this; can be repeated.
    #[arg(long)]
    case: Vec<String>,
    /// Duration of each attack in seconds. From 10 on, limits are strict; shorter runs use lenient limits that hold on a busy machine.
    #[arg(long, default_value_t = 2)]
    seconds: u64,
    /// Runs of each case; the median of their latencies counts.
    #[arg(long, default_value_t = 1)]
    rounds: usize,
    /// Path of the kelvin-server binary to attack.
    #[arg(long, default_value = "target/release/kelvin-server")]
    server: PathBuf,
    /// List the cases.
    #[arg(long)]
    list: bool,
}

/// Attacks of at least this length are judged strictly.
const STRICT_SECONDS: u64 = 10;
/// Before the attack.
const QUIET_PHASE: Duration = Duration::from_secs(3);
const QUIET_PHASE_LENIENT: Duration = Duration::from_millis(500);
/// A quiet p99 below this counts as this.
const QUIET: Duration = Duration::from_micros(2_500);
const QUIET_LENIENT: Duration = Duration::from_millis(100);
/// A new connection and its first call.
const NEWCOMER: Duration = Duration::from_secs(1);
const NEWCOMER_LENIENT: Duration = Duration::from_secs(5);
/// What a case may take beyond the length of an attack.
const OVERTIME: Duration = Duration::from_secs(15);
/// How long what the server logs and exports may go on after an attack.
const SETTLE_LIMIT: Duration = Duration::from_secs(5);
/// Lines logged per second of an attack, and in all besides.
const LINES_PER_SECOND: u64 = 5;
const LINES: u64 = 20;
const MIB: usize = 1 << 20;

/// One run of a case.
struct Round {
    quiet: Duration,
    attacked: Duration,
    newcomer: Duration,
    growth: usize,
    lines: u64,
    spans: usize,
    outcome: String,
    failures: Vec<Failure>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let all: Vec<_> = attacks::all().into_iter().chain(honest::all()).collect();
    let wanted = |case: &Case| {
        options.case.is_empty() || options.case.iter().any(|part| case.name.contains(part.as_str()))
    };
    let cases: Vec<_> = all.into_iter().filter(wanted).collect();
    if options.list {
        for case in &cases {
            println!("{:28} {}", case.name, case.about);
        }
        return ExitCode::SUCCESS;
    }
    if cases.is_empty() {
        eprintln!("no case matches --case; --list shows all cases");
        return ExitCode::from(64);
    }
    world::stay_off_first_core();
    println!(
        "{:28} {:>9} {:>9} {:>9} {:>8} {:>6} {:>6}  result",
        "case", "quiet p99", "p99", "new conn", "memory", "lines", "spans"
    );
    let mut failed = 0;
    for case in &cases {
        if !run(case, &options) {
            failed += 1;
        }
    }
    println!("{} of {} cases passed", cases.len() - failed, cases.len());
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs a case and prints its line; false when it failed.
fn run(case: &Case, options: &Options) -> bool {
    let mut rounds = Vec::new();
    let mut failures = Vec::new();
    for _ in 0..options.rounds {
        match round(case, options) {
            Ok(round) => rounds.push(round),
            Err(failure) => failures.push(failure),
        }
    }
    rounds.sort_by_key(|round| round.attacked);
    if let Some(median) = rounds.get(rounds.len() / 2) {
        failures.extend(judge(case, median, options.seconds));
        failures.extend(rounds.iter().flat_map(|round| judge_all(case, round, options.seconds)));
        let milliseconds = |duration: Duration| duration.as_secs_f64() * 1e3;
        let growth = rounds.iter().map(|round| round.growth).max().unwrap_or_default();
        println!(
            "{:28} {:7.1}ms {:7.1}ms {:7.0}ms {:5} MB {:6} {:6}  {}",
            case.name,
            milliseconds(median.quiet),
            milliseconds(median.attacked),
            milliseconds(median.newcomer),
            growth / MIB,
            median.lines,
            median.spans,
            median.outcome
        );
    } else {
        println!("{}", case.name);
    }
    failures.sort();
    failures.dedup();
    for failure in &failures {
        println!("    FAILED: {failure}");
    }
    failures.is_empty()
}

/// What the median has to be.
fn judge(case: &Case, round: &Round, seconds: u64) -> Option<Failure> {
    let quiet = round.quiet.max(if seconds >= STRICT_SECONDS { QUIET } else { QUIET_LENIENT });
    let slowdown = case.slowdown;
    (round.attacked > quiet * slowdown).then(|| {
        format!(
            "p99 of well-behaved callers is {:?}, more than {slowdown} times the quiet p99 of {quiet:?}",
            round.attacked
        )
    })
}

/// What every round has to be.
fn judge_all(case: &Case, round: &Round, seconds: u64) -> Vec<Failure> {
    let mut failures = round.failures.clone();
    let newcomer = if seconds >= STRICT_SECONDS { NEWCOMER } else { NEWCOMER_LENIENT };
    if round.newcomer > newcomer {
        failures.push(format!("a new caller was served after {:?}, more than {newcomer:?}", round.newcomer));
    }
    if round.growth > case.memory * MIB {
        failures.push(format!("memory grew by {} MiB, more than {}", round.growth / MIB, case.memory));
    }
    let lines = LINES + LINES_PER_SECOND * seconds;
    if round.lines > lines {
        failures.push(format!("{} lines logged, more than {lines}", round.lines));
    }
    if round.spans > 0 {
        failures.push(format!("{} spans exported, although the sampler drops all", round.spans));
    }
    failures
}

/// Starts a server, looks at it when it is quiet and when it is attacked.
fn round(case: &Case, options: &Options) -> Result<Round, Failure> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(text)?;
    runtime.block_on(async {
        let mut world = World::start(&options.server, case.settings, options.seconds).await?;
        let witness = Witness::connect(&world).await?;
        let quiet = if options.seconds >= STRICT_SECONDS { QUIET_PHASE } else { QUIET_PHASE_LENIENT };
        let quiet = witness.watch(&world, Instant::now() + quiet).await;
        let before = (world.logged().0, world.spans(), world.resident());
        world.until = Instant::now() + Duration::from_secs(options.seconds);
        let world = Arc::new(world);
        let attacker = attack(*case, Arc::clone(&world));
        let mut seen = witness.watch(&world, world.until).await;
        let outcome = tokio::task::spawn_blocking(move || attacker.join()).await.map_err(text)?;
        let outcome = outcome.map_err(|_| "the attack panicked".to_owned())?;
        seen.failures.extend(quiet.failures.iter().map(|failure| format!("before the attack: {failure}")));
        settle(&world).await;
        Ok(measured(&world, before, &quiet, &seen, outcome))
    })
}

/// Waits until no line was logged and no span exported for two intervals of the exporter, or for [`SETTLE_LIMIT`].
async fn settle(world: &World) {
    let deadline = Instant::now() + SETTLE_LIMIT;
    let mut last = (world.logged(), world.spans());
    while Instant::now() < deadline {
        tokio::time::sleep(2 * EXPORT_INTERVAL).await;
        let now = (world.logged(), world.spans());
        if now == last {
            return;
        }
        last = now;
    }
}

fn measured(
    world: &World,
    (lines, spans, memory): (u64, usize, usize),
    quiet: &Seen,
    seen: &Seen,
    outcome: Result<String, Failure>,
) -> Round {
    let mut failures = seen.failures.clone();
    let outcome = outcome.unwrap_or_else(|failure| {
        failures.push(failure);
        String::new()
    });
    Round {
        quiet: quiet.p99(),
        attacked: seen.p99(),
        newcomer: seen.newcomer,
        growth: seen.memory.saturating_sub(memory),
        lines: world.logged().0 - lines,
        spans: world.spans() - spans,
        outcome,
        failures,
    }
}

/// On a thread of its own, so that it does not take the witness's time.
fn attack(case: Case, world: Arc<World>) -> thread::JoinHandle<Result<String, Failure>> {
    thread::spawn(move || {
        let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(text)?;
        runtime.block_on(async {
            let limit = world.left() + OVERTIME;
            timeout(limit, (case.run)(&world)).await.map_err(|_| format!("not finished after {limit:?}"))?
        })
    })
}
