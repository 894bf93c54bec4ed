//! Attacks the server's release binary over loopback and checks the effects: resident memory, log lines, exported spans,
//! and latency and failures of well-behaved callers. Other cases are well-behaved callers close to the limits.

mod attack;
mod attacks;
mod client;
mod frames;
mod probes;
mod test_server;
mod well_behaved;

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
    probes::{Observed, Probes},
    test_server::{EXPORT_INTERVAL, Failure, TestServer, text},
};

/// Attacks the server's release binary over loopback.
#[derive(Debug, Parser)]
#[command(version)]
struct Options {
    /// Run only the cases whose name contains this; can be repeated.
    #[arg(long)]
    case: Vec<String>,
    /// Duration of each attack in seconds; below 10, limits are lenient, for busy machines.
    #[arg(long, default_value_t = 2)]
    seconds: u64,
    /// Number of runs of each case; the latency limit applies to the median run.
    #[arg(long, default_value_t = 1)]
    rounds: usize,
    /// Path of the kelvin-server binary to attack.
    #[arg(long, default_value = "target/release/kelvin-server")]
    server: PathBuf,
    /// List the cases.
    #[arg(long)]
    list: bool,
}

/// Minimum duration of an attack, in seconds, for which the strict limits apply.
const STRICT_SECONDS: u64 = 10;
/// Time for which the server is measured before the attack.
const BASELINE_DURATION: Duration = Duration::from_secs(3);
const BASELINE_DURATION_LENIENT: Duration = Duration::from_millis(500);
/// Lower bound of the baseline p99 latency that the limit is computed from.
const MIN_BASELINE: Duration = Duration::from_micros(2_500);
const MIN_BASELINE_LENIENT: Duration = Duration::from_millis(100);
/// Maximum p99 latency of well-behaved callers, as a multiple of the baseline.
const MAX_SLOWDOWN: u32 = 10;
/// Maximum time for a new connection and its first call.
const CONNECT_LIMIT: Duration = Duration::from_secs(1);
const CONNECT_LIMIT_LENIENT: Duration = Duration::from_secs(5);
/// Time that a case may take in addition to the duration of the attack.
const OVERTIME: Duration = Duration::from_secs(15);
/// Maximum time to wait after an attack until the server stops logging and exporting.
const SETTLE_LIMIT: Duration = Duration::from_secs(5);
/// Log lines allowed per second of an attack.
const MAX_LINES_PER_SECOND: u64 = 5;
/// Log lines allowed in addition, independent of the duration.
const MAX_LINES: u64 = 20;
const MIB: usize = 1 << 20;

/// Measurements of one run of a case.
struct Round {
    /// The p99 latency of well-behaved callers before the attack.
    baseline: Duration,
    /// The p99 latency of well-behaved callers during the attack.
    p99: Duration,
    /// Longest time that a new connection and its first call took.
    new_connection: Duration,
    /// Growth of resident memory in bytes.
    growth: usize,
    lines: u64,
    spans: usize,
    outcome: String,
    failures: Vec<Failure>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let all: Vec<_> = attacks::all().into_iter().chain(well_behaved::all()).collect();
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
    test_server::stay_off_first_core();
    println!(
        "{:28} {:>9} {:>9} {:>9} {:>8} {:>6} {:>6}  result",
        "case", "baseline", "p99", "new conn", "memory", "lines", "spans"
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

/// Runs a case and prints its results. Returns whether it passed.
fn run(case: &Case, options: &Options) -> bool {
    let mut rounds = Vec::new();
    let mut failures = Vec::new();
    for _ in 0..options.rounds {
        match run_round(case, options) {
            Ok(round) => rounds.push(round),
            Err(failure) => failures.push(failure),
        }
    }
    rounds.sort_by_key(|round| round.p99);
    if let Some(median) = rounds.get(rounds.len() / 2) {
        failures.extend(check_median(median, options.seconds));
        failures.extend(rounds.iter().flat_map(|round| check_round(case, round, options.seconds)));
        let milliseconds = |duration: Duration| duration.as_secs_f64() * 1e3;
        let growth = rounds.iter().map(|round| round.growth).max().unwrap_or_default();
        println!(
            "{:28} {:7.1}ms {:7.1}ms {:7.0}ms {:5} MB {:6} {:6}  {}",
            case.name,
            milliseconds(median.baseline),
            milliseconds(median.p99),
            milliseconds(median.new_connection),
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

/// Checks the round with the median latency.
fn check_median(round: &Round, seconds: u64) -> Option<Failure> {
    let baseline =
        round.baseline.max(if seconds >= STRICT_SECONDS { MIN_BASELINE } else { MIN_BASELINE_LENIENT });
    (round.p99 > baseline * MAX_SLOWDOWN).then(|| {
        format!(
            "p99 of well-behaved callers is {:?}, more than {MAX_SLOWDOWN} times the baseline of {baseline:?}",
            round.p99
        )
    })
}

/// Checks what every round has to meet.
fn check_round(case: &Case, round: &Round, seconds: u64) -> Vec<Failure> {
    let mut failures = round.failures.clone();
    let limit = if seconds >= STRICT_SECONDS { CONNECT_LIMIT } else { CONNECT_LIMIT_LENIENT };
    if round.new_connection > limit {
        failures.push(format!(
            "a new connection and its first call took {:?}, more than {limit:?}",
            round.new_connection
        ));
    }
    if round.growth > case.memory * MIB {
        failures.push(format!("memory grew by {} MiB, more than {} MiB", round.growth / MIB, case.memory));
    }
    let lines = MAX_LINES + MAX_LINES_PER_SECOND * seconds;
    if round.lines > lines {
        failures.push(format!("{} lines logged, more than {lines}", round.lines));
    }
    if round.spans > 0 {
        failures.push(format!("{} spans exported, although the sampler samples none", round.spans));
    }
    failures
}

/// Starts a server and measures it before and during the attack.
fn run_round(case: &Case, options: &Options) -> Result<Round, Failure> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(text)?;
    runtime.block_on(async {
        let mut server = TestServer::start(&options.server, case.settings, options.seconds).await?;
        let probes = Probes::connect(&server).await?;
        let baseline =
            if options.seconds >= STRICT_SECONDS { BASELINE_DURATION } else { BASELINE_DURATION_LENIENT };
        let baseline = probes.measure(&server, Instant::now() + baseline).await;
        let before = (server.logged().0, server.spans(), server.resident_memory());
        server.deadline = Instant::now() + Duration::from_secs(options.seconds);
        let server = Arc::new(server);
        let attacker = start_attack(*case, Arc::clone(&server));
        let mut observed = probes.measure(&server, server.deadline).await;
        let outcome = tokio::task::spawn_blocking(move || attacker.join()).await.map_err(text)?;
        let outcome = outcome.map_err(|_| "the attack panicked".to_owned())?;
        observed
            .failures
            .extend(baseline.failures.iter().map(|failure| format!("before the attack: {failure}")));
        settle(&server).await;
        Ok(round_result(&server, before, &baseline, &observed, outcome))
    })
}

/// Waits until no line is logged and no span exported for two export intervals, at most for [`SETTLE_LIMIT`].
async fn settle(server: &TestServer) {
    let deadline = Instant::now() + SETTLE_LIMIT;
    let mut last = (server.logged(), server.spans());
    while Instant::now() < deadline {
        tokio::time::sleep(2 * EXPORT_INTERVAL).await;
        let now = (server.logged(), server.spans());
        if now == last {
            return;
        }
        last = now;
    }
}

/// Computes a round's results from the measurements before and during the attack.
fn round_result(
    server: &TestServer,
    (lines, spans, memory): (u64, usize, usize),
    baseline: &Observed,
    observed: &Observed,
    outcome: Result<String, Failure>,
) -> Round {
    let mut failures = observed.failures.clone();
    let outcome = outcome.unwrap_or_else(|failure| {
        failures.push(failure);
        String::new()
    });
    Round {
        baseline: baseline.p99(),
        p99: observed.p99(),
        new_connection: observed.new_connection,
        growth: observed.memory.saturating_sub(memory),
        lines: server.logged().0 - lines,
        spans: server.spans() - spans,
        outcome,
        failures,
    }
}

/// Starts the attack on a thread of its own, so that it does not delay the probes.
fn start_attack(case: Case, server: Arc<TestServer>) -> thread::JoinHandle<Result<String, Failure>> {
    thread::spawn(move || {
        let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(text)?;
        runtime.block_on(async {
            let limit = server.remaining() + OVERTIME;
            timeout(limit, (case.run)(&server)).await.map_err(|_| format!("not finished after {limit:?}"))?
        })
    })
}
