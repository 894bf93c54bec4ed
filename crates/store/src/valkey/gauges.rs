use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use opentelemetry::{
    KeyValue,
    metrics::{AsyncInstrument, Meter},
};
use redis::Value;
use tokio::time::{MissedTickBehavior, interval};

use super::{Shared, check, flush, nodes::Nodes};
use crate::instruments;

/// How often the partitions are counted, by one server.
const EVERY: Duration = Duration::from_secs(5);
/// The server that counts has the right to for so long.
const LEASE: Duration = Duration::from_secs(15);

/// What the whole store holds, known to the server that counts.
#[derive(Debug, Default)]
pub(super) struct Held(Mutex<Option<(Instant, Totals)>>);

/// What was counted.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Totals {
    sensors: u64,
    readings: u64,
    fullest: Option<NodeMemory>,
}

/// Bytes that a node uses, and how many it may: 0 for no limit.
#[derive(Debug, Clone, Copy, PartialEq)]
struct NodeMemory {
    used: u64,
    limit: u64,
}

impl Held {
    pub(super) fn get(&self) -> Option<Totals> {
        let held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.filter(|(when, ..)| when.elapsed() < LEASE).map(|(_, totals)| totals)
    }
}

/// Counters are this server's own. What the shared store holds is reported by the one server that holds the lease, so
/// that a sum over servers counts it once.
pub(super) fn observe(shared: &Arc<Shared>, meter: &Meter) {
    let with = |report: fn(&Shared, &dyn AsyncInstrument<u64>)| {
        let shared = Arc::downgrade(shared);
        move |instrument: &dyn AsyncInstrument<u64>| {
            if let Some(shared) = shared.upgrade() {
                report(&shared, instrument);
            }
        }
    };
    instruments::sensors(meter)
        .with_callback(with(|shared, instrument| {
            if let Some(held) = shared.held.get() {
                instrument.observe(held.sensors, &[VALKEY()]);
            }
        }))
        .build();
    instruments::held(meter)
        .with_callback(with(|shared, instrument| {
            if let Some(held) = shared.held.get() {
                instrument.observe(held.readings, &[VALKEY()]);
            }
        }))
        .build();
    instruments::sensor_limit(meter)
        .with_callback(with(|shared, instrument| {
            instrument.observe(shared.limits.sensors as u64, &[VALKEY()]);
        }))
        .build();
    instruments::reading_limit(meter)
        .with_callback(with(|shared, instrument| {
            instrument.observe(shared.limits.readings as u64, &[VALKEY()]);
        }))
        .build();
    instruments::memory_usage(meter)
        .with_callback(with(|shared, instrument| {
            if let Some(node) = shared.held.get().and_then(|held| held.fullest) {
                instrument.observe(node.used, &[VALKEY()]);
            }
        }))
        .build();
    instruments::memory_limit(meter)
        .with_callback(with(|shared, instrument| {
            if let Some(node) = shared.held.get().and_then(|held| held.fullest).filter(|node| node.limit > 0)
            {
                instrument.observe(node.limit, &[VALKEY()]);
            }
        }))
        .build();
    instruments::evicted(meter)
        .with_callback(with(|shared, instrument| {
            let counters = &shared.counters;
            instrument.observe(counters.evicted.load(Relaxed), &[VALKEY(), KeyValue::new("reason", "full")]);
            instrument.observe(counters.expired.load(Relaxed), &[VALKEY(), KeyValue::new("reason", "idle")]);
        }))
        .build();
    instruments::forgotten(meter)
        .with_callback(with(|shared, instrument| {
            instrument.observe(shared.counters.forgotten.load(Relaxed), &[VALKEY()]);
        }))
        .build();
    instruments::up(meter)
        .with_callback(with(|shared, instrument| {
            instrument.observe(u64::from(shared.availability.is_up()), &[VALKEY()]);
        }))
        .build();
}

const VALKEY: fn() -> KeyValue = || KeyValue::new("kelvin.store", "valkey");

/// Counts for ever, while this server holds the lease; idle sensors of partitions that get no readings are forgotten
/// with it.
pub(super) async fn count(shared: Arc<Shared>, nodes: Arc<Nodes>) {
    let me = format!("{:016x}", fastrand::u64(..));
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let counts = check::layout(&nodes).await.is_ok() && leads(&shared, &nodes, &me).await;
        let held = if counts { total(&shared, &nodes).await } else { None };
        let held = held.map(|totals| (Instant::now(), totals));
        *shared.held.0.lock().unwrap_or_else(PoisonError::into_inner) = held;
    }
}

async fn leads(shared: &Shared, nodes: &Nodes, me: &str) -> bool {
    let partition = &shared.keys.all()[0];
    let key = partition.other("counts");
    let lease = u64::try_from(LEASE.as_millis()).unwrap_or(u64::MAX);
    let mut pipeline = redis::pipe();
    pipeline.cmd("SET").arg(&key).arg(me).arg("NX").arg("PX").arg(lease);
    pipeline.cmd("GET").arg(&key);
    let answer = nodes.query(partition.slot, "SET", &pipeline).await;
    let mine = matches!(answer.as_deref(), Ok([_, Value::BulkString(holder)]) if holder == me.as_bytes());
    if mine {
        let mut renew = redis::pipe();
        renew.cmd("PEXPIRE").arg(&key).arg(lease);
        // Without it the lease runs out, and someone counts all the same.
        let _ = nodes.query(partition.slot, "PEXPIRE", &renew).await;
    }
    mine
}

async fn total(shared: &Shared, nodes: &Nodes) -> Option<Totals> {
    let mut all = Totals::default();
    for (number, partition) in shared.keys.all().iter().enumerate() {
        let mut pipeline = redis::pipe();
        let part = flush::Part { partition: number, items: Vec::new() };
        pipeline.add_command(flush::append(shared, &[part], &[]));
        let answer = nodes.query(partition.slot, "EVALSHA", &pipeline).await.ok()?;
        let Some(Value::BulkString(bytes)) = answer.first() else { return None };
        let totals = flush::totals(&mut &bytes[..])?;
        all.sensors += totals.sensors;
        all.readings += totals.readings;
        shared.counters.gone(&totals);
    }
    all.fullest = fullest(shared, nodes).await;
    Some(all)
}

/// The primary that has the least part of its memory left; none where the user may not ask.
async fn fullest(shared: &Shared, nodes: &Nodes) -> Option<NodeMemory> {
    let mut asked = HashSet::new();
    let mut fullest: Option<NodeMemory> = None;
    for partition in shared.keys.all() {
        if !asked.insert(nodes.route(partition.slot).await.ok()?) {
            continue;
        }
        let mut pipeline = redis::pipe();
        pipeline.cmd("INFO").arg("memory");
        let answer = nodes.query(partition.slot, "INFO", &pipeline).await.ok()?;
        let memory = NodeMemory::read(check::info(answer.first()?))?;
        if fullest.is_none_or(|other| memory.is_fuller(other)) {
            fullest = Some(memory);
        }
    }
    fullest
}

impl NodeMemory {
    fn read(info: &str) -> Option<Self> {
        let number = |name| check::field(info, name)?.parse().ok();
        Some(Self { used: number("used_memory")?, limit: number("maxmemory")? })
    }

    /// By the share of the limit. A node without one is less full than any other.
    fn is_fuller(self, other: Self) -> bool {
        match (self.limit, other.limit) {
            (0, 0) => self.used > other.used,
            (0, _) => false,
            (_, 0) => true,
            (limit, other_limit) => {
                u128::from(self.used) * u128::from(other_limit) > u128::from(other.used) * u128::from(limit)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::NodeMemory;

    #[test]
    fn fullest_node_is_the_one_nearest_to_its_limit() {
        let node = |used, limit| NodeMemory { used, limit };
        assert!(node(50, 100).is_fuller(node(90, 200)));
        assert!(!node(90, 200).is_fuller(node(50, 100)));
        assert!(node(1, 100).is_fuller(node(1_000_000, 0)));
        assert!(!node(1_000_000, 0).is_fuller(node(1, 100)));
        assert!(node(2, 0).is_fuller(node(1, 0)));
    }

    #[test]
    fn memory_is_read_from_info() {
        let info = "# Memory\r\nused_memory:1048576\r\nused_memory_human:1.00M\r\nmaxmemory:268435456\r\n";
        assert_eq!(NodeMemory::read(info), Some(NodeMemory { used: 1_048_576, limit: 268_435_456 }));
        assert_eq!(NodeMemory::read(""), None);
    }
}
