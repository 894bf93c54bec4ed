//! Load generator: makes as many calls as the server takes and measures their latency.
//!
//! Uses h2 directly, below tonic, so that one core of it saturates more than one core of a server: requests are encoded
//! once, many readings to a DATA frame, and of the responses only the message boundaries, whether a reading was stored, and
//! the status are parsed. Works with any server of the API.

#![deny(clippy::print_stdout, clippy::print_stderr)] // they panic on closed pipes and full disks

mod call;
mod error;
mod options;
mod payload;
mod report;
mod tally;
mod target;
mod worker;

use std::{
    sync::{Arc, atomic::Ordering},
    thread,
    time::{Duration, Instant},
};

pub use error::LoadError;
pub use options::Options;
pub use report::{Failures, Progress, Report, Stats};
pub use target::{Target, Tls};
pub use tokio_rustls::rustls::pki_types::ServerName;

use tally::Tally;
use worker::{Shared, Worker};

/// How often [`run`] reports its progress.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);

/// Makes calls to the target until the time is over. Blocks; `progress` is called about once a second.
///
/// Connection errors and failed calls before the start are returned; from then on they are counted.
pub fn run(options: &Options, mut progress: impl FnMut(&Progress)) -> Result<Report, LoadError> {
    options.check()?;
    let shared = Arc::new(Shared::new(options));
    worker::runtime()?.block_on(worker::prepare(&shared))?;

    let workers: Vec<_> = (0..options.threads).map(|index| Arc::new(Worker::new(&shared, index))).collect();
    let threads: Vec<_> = workers
        .iter()
        .map(|worker| {
            let worker = worker.clone();
            thread::Builder::new().name("load".into()).spawn(move || worker.run())
        })
        .collect::<Result<_, _>>()
        .map_err(|error| {
            shared.stop.store(true, Ordering::Relaxed);
            LoadError::Start(error)
        })?;

    if !options.warm_up.is_zero() {
        wait(&workers, options.warm_up, true, &mut progress);
        collect(&workers);
    }
    let measured = wait(&workers, options.duration, false, &mut progress);
    // Stop new calls first, so that at most one call of each stream ends uncounted.
    shared.stop.store(true, Ordering::Relaxed);
    let tally = collect(&workers);
    for thread in threads {
        thread.join().expect("a worker does not panic");
    }
    let unfinished = workers.iter().map(|worker| worker.open.load(Ordering::Relaxed)).sum();
    Ok(Report::new(&tally, measured, unfinished))
}

/// Waits for `duration` and reports the progress. Returns the time that actually passed.
fn wait(
    workers: &[Arc<Worker>],
    duration: Duration,
    warm_up: bool,
    progress: &mut impl FnMut(&Progress),
) -> Duration {
    let start = Instant::now();
    let mut last = (start, Progress::default());
    while let Some(left) = duration.checked_sub(start.elapsed()).filter(|left| !left.is_zero()) {
        thread::sleep(left.min(PROGRESS_INTERVAL));
        let now = Instant::now();
        let total = workers.iter().fold(Progress::default(), |sum, worker| sum.add(&worker.tally.lock()));
        progress(&total.since(&last.1, now - last.0, now - start, warm_up));
        last = (now, total);
    }
    start.elapsed()
}

/// Sums up the workers' tallies and resets them.
fn collect(workers: &[Arc<Worker>]) -> Tally {
    let mut sum = Tally::default();
    for worker in workers {
        sum.add(&std::mem::take(&mut *worker.tally.lock()));
    }
    sum
}
