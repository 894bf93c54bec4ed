use std::{collections::HashMap, fmt, sync::Arc, time::Duration};

use kelvin_proto::SensorRequest;
use kelvin_server::Acknowledge;
use kelvin_testing::{eventually, eventually_ok};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};
use tonic::Status;

use super::{
    callers::{CALL_TYPES, Caller, SENSORS, sensor},
    fault::Fault,
    notes::{Id, Notes},
    proxy::Way,
    world::World,
};
use crate::support::{Client, kelvin::Kelvin};

/// How long the rate is measured before the fault.
const BEFORE: Duration = Duration::from_secs(5);
/// After so long what was sent is acknowledged, if nothing is wrong.
const SETTLED: Duration = Duration::from_secs(2);
/// How soon after the fault's end so much of the rate must be back; of what is sent, should the callers themselves be
/// slower than before. Readings count when they were sent, so that what was held up and comes in a burst adds nothing.
const BACK: (Duration, f64) = (Duration::from_secs(5), 0.8);
/// Callers that send less than this share of the rate before show nothing.
const SENT: f64 = 0.5;
/// What must be back must stay for so long.
const STEADY: Duration = Duration::from_secs(1);
const STEP: Duration = Duration::from_millis(100);

/// One fault in one mode.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cell {
    pub(crate) fault: Fault,
    pub(crate) mode: Acknowledge,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Result {
    stored: usize,
    lost: usize,
    doubled: usize,
    late: u64,
    crash: Option<String>,
    back: Option<Duration>,
    keeps_all: bool,
    loses_some: bool,
}

impl Cell {
    pub(crate) async fn run(self) -> Result {
        let Self { fault, mode } = self;
        let mut world = World::start(fault, mode).await;
        let notes = Arc::new(Notes::new(deadline(fault, mode)));
        let mut callers = JoinSet::new();
        let mut number = 0;
        for kelvin in &world.kelvins {
            for call_type in CALL_TYPES {
                callers.spawn(Caller::new(kelvin.client(), Arc::clone(&notes), number).run(call_type));
                number += 1;
            }
        }
        eventually("the load runs", async || notes.count_stored() > 100).await;
        let start = Instant::now();
        sleep(BEFORE + SETTLED).await;
        let before = notes.rate(start, BEFORE);
        world.inject(fault).await;
        let back = back(&notes, before).await;
        notes.end();
        callers.join_all().await;
        assert!(matches!(world.proxy.way(), Way::To(_)), "the fault has passed");

        let fresh = Kelvin::start(&world.addresses, mode);
        let found = found(&fresh.client(), number).await;
        let stored = notes.all_stored();
        Result {
            stored: stored.len(),
            lost: stored.iter().filter(|id| !found.contains_key(id)).count(),
            doubled: found.values().filter(|times| **times > 1).count(),
            late: notes.count_late(),
            crash: world.kelvins.iter_mut().find_map(Kelvin::crash),
            back,
            keeps_all: fault.keeps_all(mode),
            loses_some: fault.loses_some(mode),
        }
    }
}

impl Result {
    pub(crate) fn passed(&self) -> bool {
        let promise = (self.lost == 0 || !self.keeps_all) && (self.lost > 0 || !self.loses_some);
        promise && self.doubled == 0 && self.late == 0 && self.crash.is_none() && self.back.is_some()
    }
}

impl fmt::Display for Result {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let back = self.back.map_or("not back".to_owned(), |back| format!("{:.1}", back.as_secs_f64()));
        write!(f, "{:>8} {:>6} {:>8} {back:>10}", self.stored, self.lost, self.doubled)?;
        if self.late > 0 {
            write!(f, "  {} calls answered too late", self.late)?;
        }
        if let Some(crash) = &self.crash {
            write!(f, "  a server crashed: {crash}")?;
        }
        f.write_str(if self.keeps_all { "" } else { "  loss is possible" })?;
        f.write_str(if self.passed() { "" } else { "  FAILED" })
    }
}

/// A call may meet a flush that waits for a dead connection, and then one of its own that waits for a new one; each
/// waits for Valkey's time limit, which is 1 s, twice, and for a replica or the disk besides. A server that is stopped
/// answers when it goes on. What is left is for a busy machine.
fn deadline(fault: Fault, mode: Acknowledge) -> Duration {
    let wait = if mode == Acknowledge::Primary { 0 } else { 3 };
    let stopped = if fault == Fault::ServerStopped { 5 } else { 0 };
    Duration::from_secs(2 * (2 + wait) + 3 + stopped)
}

/// How long after now the rate is back.
async fn back(notes: &Notes, before: f64) -> Option<Duration> {
    let end = Instant::now();
    while end.elapsed() < BACK.0 {
        sleep(STEP).await;
        let mut start = end;
        while start + STEADY <= Instant::now() {
            let sent = notes.rate_sent(start, STEADY);
            if sent >= SENT * before && notes.rate(start, STEADY) >= BACK.1 * before.min(sent) {
                return Some(start - end);
            }
            start += STEP;
        }
    }
    None
}

/// How often the store gives back each reading.
async fn found(client: &Client, callers: u64) -> HashMap<Id, u32> {
    let mut found = HashMap::new();
    for (caller, number) in (0..callers).flat_map(|caller| (0..SENSORS).map(move |number| (caller, number))) {
        let attempt = async || read(client.clone(), sensor(caller, number)).await;
        for number in eventually_ok("the readings are given back", attempt).await {
            *found.entry((caller, number)).or_insert(0) += 1;
        }
    }
    found
}

async fn read(mut client: Client, sensor_id: String) -> std::result::Result<Vec<u64>, Status> {
    let request = SensorRequest { sensor_id, ..SensorRequest::default() };
    let mut readings = client.get_sensor_readings(request).await?.into_inner();
    let mut numbers = Vec::new();
    while let Some(reading) = readings.message().await? {
        numbers.push(u64::try_from(reading.timestamp).expect("numbers are not negative"));
    }
    Ok(numbers)
}
