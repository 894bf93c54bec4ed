use std::{collections::HashMap, fmt, sync::atomic::Ordering::Relaxed, time::Duration};

use kelvin_store::{Acknowledge, Query};
use tokio::time::{Instant, sleep};

use crate::{
    fault::Fault,
    load::{Load, SENSORS, open, sensor},
    processes::{Server, cluster, until},
    proxy::{Proxy, Way},
};

/// How long the rate is measured before the fault.
const BEFORE: Duration = Duration::from_secs(2);
/// How soon after the fault's end it must be back, and how much of it.
const BACK: (Duration, f64) = (Duration::from_secs(5), 0.8);
/// What must be back must stay for so long.
const STEADY: Duration = Duration::from_millis(500);

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
    back: Option<Duration>,
    keeps_all: bool,
    loses_some: bool,
}

impl Cell {
    pub(crate) async fn run(self) -> Result {
        let clustered = self.fault == Fault::ClusterFailover;
        let mut nodes = if clustered {
            cluster(3, 1, &["--appendonly", "yes"]).await
        } else {
            vec![Server::start(&["--appendonly", "yes"]).await]
        };
        let (proxy, wire) = (Proxy::start(nodes[0].port).await, Proxy::start(nodes[0].port).await);
        if !clustered {
            replicate(&mut nodes, wire.port, self.fault.replicas()).await;
        }
        let addresses = if clustered {
            nodes.iter().map(Server::address).collect()
        } else {
            vec![format!("127.0.0.1:{}", proxy.port)]
        };
        let mut load = Load::start(addresses.clone(), self.mode).await;
        let count = &load.notes.count;
        until("the load runs", async || count.load(Relaxed) > 200).await;
        let before = rate(&load, BEFORE).await;
        self.fault.happen(&mut nodes, &proxy, &wire, &mut load).await;
        let back = back(&load, before).await;
        load.stop().await;
        assert!(matches!(proxy.way(), Way::To(_)), "the fault has passed");

        let found = found(&addresses, &load).await;
        let stored = std::mem::take(&mut *load.notes.stored.lock().expect("the writers have ended"));
        let missing = |reading: &&(u64, u64)| !found.contains_key(*reading);
        Result {
            stored: stored.len(),
            lost: stored.iter().filter(missing).count(),
            doubled: found.values().filter(|times| **times > 1).count(),
            late: load.notes.late.load(Relaxed),
            back,
            keeps_all: self.fault.keeps_all(self.mode),
            loses_some: self.fault.loses_some(self.mode),
        }
    }
}

impl Result {
    pub(crate) fn passed(&self) -> bool {
        let promise = (self.lost == 0 || !self.keeps_all) && (self.lost > 0 || !self.loses_some);
        promise && self.doubled == 0 && self.late == 0 && self.back.is_some()
    }
}

impl fmt::Display for Result {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let back = self.back.map_or("not back".to_owned(), |back| format!("{:.1}", back.as_secs_f64()));
        write!(f, "{:>8} {:>6} {:>8} {back:>10}", self.stored, self.lost, self.doubled)?;
        if self.late > 0 {
            write!(f, "  {} calls answered too late", self.late)?;
        }
        if !self.keeps_all {
            write!(f, "  loss is possible")?;
        }
        f.write_str(if self.passed() { "" } else { "  FAILED" })
    }
}

/// Gives the primary replicas, which reach it by this port.
async fn replicate(nodes: &mut Vec<Server>, port: u16, replicas: usize) {
    for _ in 0..replicas {
        nodes.push(
            Server::start(&["--appendonly", "yes", "--replicaof", "127.0.0.1", &port.to_string()]).await,
        );
    }
    for replica in 0..replicas {
        let (primary, field) = (&nodes[0], format!("slave{replica}"));
        until("the replica follows", async || primary.info(&field).await.contains("state=online")).await;
    }
}

/// Acknowledged readings a second.
async fn rate(load: &Load, time: Duration) -> f64 {
    let (start, count) = (Instant::now(), load.notes.count.load(Relaxed));
    sleep(time).await;
    (load.notes.count.load(Relaxed) - count) as f64 / start.elapsed().as_secs_f64()
}

async fn back(load: &Load, before: f64) -> Option<Duration> {
    let end = Instant::now();
    while end.elapsed() < BACK.0 {
        let start = end.elapsed();
        if rate(load, STEADY).await >= BACK.1 * before {
            return Some(start);
        }
    }
    None
}

/// How often the store gives back each reading.
async fn found(addresses: &[String], load: &Load) -> HashMap<(u64, u64), u32> {
    let store = open(addresses, Acknowledge::Primary).await;
    let mut found = HashMap::new();
    for writer in load.all_writers() {
        for number in 0..SENSORS {
            let mut out = Vec::new();
            until("the store is read", async || {
                store.read(&sensor(writer, number), Query::default()).await.is_ok()
            })
            .await;
            let reader = store.read(&sensor(writer, number), Query::default()).await;
            let mut reader = reader.expect("the store is read");
            while reader.next(&mut out).await.expect("the store is read") {}
            for reading in out {
                let number = u64::try_from(reading.timestamp).expect("numbers are not negative");
                *found.entry((writer, number)).or_insert(0) += 1;
            }
        }
    }
    found
}
