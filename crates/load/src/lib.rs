//! Load: as many calls as a server takes, and how long each took.
//!
//! Goes below tonic so that one core of it outruns one core of a server: requests are encoded once, many readings
//! to a frame, and of the answers only what must be known is read: where messages begin, whether a reading was
//! stored, and the status. Works against any server of the contract.

#![deny(clippy::print_stdout, clippy::print_stderr)] // they panic on closed pipes and full disks

mod call;
mod messages;
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

use grpc_otel::status_name;
use kelvin_proto::CallType;
use parking_lot::{Mutex, MutexGuard};
use tonic::Status;

pub use options::Options;
pub use report::{Failures, Figures, Progress, Report};
pub use target::{Target, Tls};
pub use tokio_rustls::rustls::pki_types::ServerName;

use tally::Tally;
use worker::{Shared, Worker};

/// How often [`run`] tells its progress.
const TICK: Duration = Duration::from_secs(1);

/// Why there is no [`Report`].
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// No TCP connection.
    #[error("cannot reach {address}: {source}")]
    Unreachable {
        /// As it was given.
        address: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// No TLS session.
    #[error("TLS handshake with {address} failed: {source}")]
    Tls {
        /// As it was given.
        address: String,
        /// What rustls said.
        source: std::io::Error,
    },
    /// The peer took another protocol than `h2`.
    #[error("{0} does not speak HTTP/2")]
    NotHttp2(String),
    /// A call made to see whether the server is the right one and lets us in.
    #[error("the first {} call failed: {} {}", kind.name(), status_name(status.code()), status.message())]
    FirstCall {
        /// Its type.
        kind: CallType,
        /// What came back.
        status: Box<Status>,
    },
    /// The options contradict each other.
    #[error("{0}")]
    Options(&'static str),
    /// The system refuses a thread or a runtime.
    #[error("cannot start: {0}")]
    Start(#[source] std::io::Error),
}

/// Drives the target until the time is over. Blocks; `progress` is called about once a second.
///
/// Connection errors and refusals before the start are errors; from then on they are counted.
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
        watch(&workers, options.warm_up, true, &mut progress);
        collect(&workers);
    }
    let measured = watch(&workers, options.duration, false, &mut progress);
    // First of all no further calls, so that at most one of each stream ends uncounted.
    shared.stop.store(true, Ordering::Relaxed);
    let tally = collect(&workers);
    for thread in threads {
        thread.join().expect("a worker does not panic");
    }
    let unfinished = workers.iter().map(|worker| worker.open.load(Ordering::Relaxed)).sum();
    Ok(Report::new(&tally, measured, unfinished))
}

/// Waits for `duration`, telling the progress; gives back how long it was in truth.
fn watch(
    workers: &[Arc<Worker>],
    duration: Duration,
    warm_up: bool,
    progress: &mut impl FnMut(&Progress),
) -> Duration {
    let start = Instant::now();
    let mut last = (start, Progress::default());
    while let Some(left) = duration.checked_sub(start.elapsed()).filter(|left| !left.is_zero()) {
        thread::sleep(left.min(TICK));
        let now = Instant::now();
        let total = workers.iter().fold(Progress::default(), |sum, worker| sum.plus(&lock(&worker.tally)));
        progress(&total.since(&last.1, now - last.0, now - start, warm_up));
        last = (now, total);
    }
    start.elapsed()
}

/// Takes what the workers counted so far; they begin again at nothing.
fn collect(workers: &[Arc<Worker>]) -> Tally {
    let mut sum = Tally::default();
    for worker in workers {
        sum.add(&std::mem::take(&mut *lock(&worker.tally)));
    }
    sum
}

fn lock(tally: &Mutex<Tally>) -> MutexGuard<'_, Tally> {
    tally.lock()
}
