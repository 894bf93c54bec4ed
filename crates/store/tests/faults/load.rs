use std::{
    collections::HashSet,
    env,
    io::Write,
    process::Stdio,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use kelvin_store::{
    Acknowledge, AlertSettings, Batch, Credentials, Kind, Limits, Opener, Reading, Report, Store,
    ValkeySettings,
};
use opentelemetry::metrics::{MeterProvider, noop::NoopMeterProvider};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    sync::watch,
    task::JoinHandle,
    time::{Instant, MissedTickBehavior, interval},
};

/// Writers in this process; one more is a process of its own.
const WRITERS: u64 = 3;
/// Sensors of a writer.
pub(crate) const SENSORS: u64 = 4;
const BATCH: u64 = 5;
const PACE: Duration = Duration::from_millis(20);
/// The time limit of the stores.
const TIMEOUT: Duration = Duration::from_secs(1);

/// What was acknowledged, and how it went.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    /// Writer and number of each reading.
    pub(crate) stored: Mutex<HashSet<(u64, u64)>>,
    pub(crate) count: AtomicU64,
    /// Calls of this process that were answered too late; the other is stopped and killed.
    pub(crate) late: AtomicU64,
    done: AtomicBool,
}

/// Writers at a steady pace.
#[derive(Debug)]
pub(crate) struct Load {
    addresses: Vec<String>,
    mode: Acknowledge,
    pub(crate) notes: Arc<Notes>,
    writers: Vec<JoinHandle<()>>,
    process: Option<Child>,
    processes: u64,
}

impl Load {
    pub(crate) async fn start(addresses: Vec<String>, mode: Acknowledge) -> Self {
        let notes = Arc::new(Notes::default());
        let mut writers = Vec::new();
        for writer in 0..WRITERS {
            let (store, notes) = (open(&addresses, mode).await, Arc::clone(&notes));
            writers.push(tokio::spawn(async move {
                write(&store, mode, writer, &notes, |_| ()).await;
            }));
        }
        let mut load = Self { addresses, mode, notes, writers, process: None, processes: 0 };
        load.start_process();
        load
    }

    /// Each process writes under a number of its own.
    pub(crate) fn start_process(&mut self) {
        let program = env::current_exe().expect("it has a path");
        let writer = WRITERS + self.processes;
        let mut process = Command::new(program)
            .args(["writer", &self.addresses.join(","), &self.mode.to_string(), &writer.to_string()])
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the writer starts");
        let mut lines = BufReader::new(process.stdout.take().expect("it is piped")).lines();
        let notes = Arc::clone(&self.notes);
        self.writers.push(tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                let (from, to) = line.split_once(' ').expect("two numbers");
                notes.note(writer, from.parse().expect("a number")..to.parse().expect("a number"));
            }
        }));
        self.process = Some(process);
        self.processes += 1;
    }

    pub(crate) fn kill_process(&mut self) {
        self.process
            .as_mut()
            .and_then(|process| process.start_kill().ok())
            .expect("the writer can be killed");
    }

    pub(crate) fn signal_process(&self, signal: &str) {
        let id = self.process.as_ref().and_then(Child::id).expect("it runs").to_string();
        let done = std::process::Command::new("kill").args(["-s", signal, &id]).status().expect("kill runs");
        assert!(done.success());
    }

    /// The names of all writers so far.
    pub(crate) fn all_writers(&self) -> std::ops::Range<u64> {
        0..WRITERS + self.processes
    }

    /// Ends the writers and waits for what they still have under way.
    pub(crate) async fn stop(&mut self) {
        self.notes.done.store(true, Relaxed);
        if let Some(mut process) = self.process.take() {
            process.kill().await.expect("the writer can be killed");
        }
        for writer in self.writers.drain(..) {
            writer.await.expect("no writer panics");
        }
    }
}

impl Notes {
    fn note(&self, writer: u64, numbers: std::ops::Range<u64>) {
        self.count.fetch_add(numbers.end - numbers.start, Relaxed);
        self.stored.lock().expect("no writer panics").extend(numbers.map(|number| (writer, number)));
    }
}

/// A writer in a process of its own, which says on its standard output what was acknowledged.
pub(crate) async fn process(addresses: &str, mode: &str, writer: &str) {
    let mode = mode.parse().expect("a mode");
    let addresses: Vec<String> = addresses.split(',').map(str::to_owned).collect();
    let store = open(&addresses, mode).await;
    let say = |line: String| {
        let mut output = std::io::stdout().lock();
        writeln!(output, "{line}").and_then(|()| output.flush()).expect("someone listens");
    };
    write(&store, mode, writer.parse().expect("a number"), &Notes::default(), say).await;
}

pub(crate) async fn open(addresses: &[String], mode: Acknowledge) -> Store {
    let settings = ValkeySettings {
        addresses: addresses.to_vec(),
        cluster: addresses.len() > 1,
        username: None,
        acknowledge: mode,
        prefix: ValkeySettings::PREFIX.to_owned(),
        partitions: ValkeySettings::PARTITIONS,
        timeout: TIMEOUT,
        credentials: watch::channel(Credentials::default()).1,
    };
    let limits = Limits {
        readings_per_sensor: 1_000_000,
        sensors: 1_000_000,
        readings: 1_000_000_000,
        idle: Duration::from_hours(1),
        recent_window: 10,
    };
    let alerts = AlertSettings { low: None, high: None, z_score: None };
    let meter = NoopMeterProvider::new().meter("faults");
    let opener = Opener::new(Kind::Valkey(settings), limits, alerts, &meter).expect("the settings are valid");
    opener.open().await.expect("the store opens")
}

pub(crate) fn sensor(writer: u64, number: u64) -> String {
    format!("writer-{writer}-{}", number % SENSORS)
}

/// Writes new readings at a steady pace; what failed is not written again.
async fn write(store: &Store, mode: Acknowledge, writer: u64, notes: &Notes, say: impl Fn(String)) {
    // A flush that meets a dead connection and one that waited behind it.
    let wait = if mode == Acknowledge::Primary { Duration::ZERO } else { TIMEOUT * 3 };
    let patience = 2 * (2 * TIMEOUT + wait) + TIMEOUT;
    let (mut batch, mut report, mut number) = (Batch::default(), Report::default(), 0);
    let mut ticks = interval(PACE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !notes.done.load(Relaxed) {
        ticks.tick().await;
        batch.clear();
        let numbers = number..number + BATCH;
        number += BATCH;
        for number in numbers.clone() {
            let timestamp = i64::try_from(number).expect("few readings");
            batch.push(&sensor(writer, number), Reading { temperature: 20.0, timestamp });
        }
        let start = Instant::now();
        let stored = store.append(&batch, &mut report).await.is_ok();
        if start.elapsed() > patience {
            notes.late.fetch_add(1, Relaxed);
        }
        if stored && report.stored == batch.len() {
            say(format!("{} {}", numbers.start, numbers.end));
            notes.note(writer, numbers);
        }
    }
}
