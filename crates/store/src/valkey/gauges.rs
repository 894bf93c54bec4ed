use std::{
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
pub(super) struct Held(Mutex<Option<(Instant, u64, u64)>>);

impl Held {
    pub(super) fn get(&self) -> Option<(u64, u64)> {
        let held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.filter(|(when, ..)| when.elapsed() < LEASE).map(|(_, sensors, readings)| (sensors, readings))
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
            if let Some((sensors, _)) = shared.held.get() {
                instrument.observe(sensors, &[VALKEY()]);
            }
        }))
        .build();
    instruments::held(meter)
        .with_callback(with(|shared, instrument| {
            if let Some((_, readings)) = shared.held.get() {
                instrument.observe(readings, &[VALKEY()]);
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
        let held = held.map(|(sensors, readings)| (Instant::now(), sensors, readings));
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

async fn total(shared: &Shared, nodes: &Nodes) -> Option<(u64, u64)> {
    let (mut sensors, mut readings) = (0, 0);
    for (number, partition) in shared.keys.all().iter().enumerate() {
        let mut pipeline = redis::pipe();
        let part = flush::Part { partition: number, items: Vec::new() };
        pipeline.add_command(flush::append(shared, &[part], &[]));
        let answer = nodes.query(partition.slot, "EVALSHA", &pipeline).await.ok()?;
        let Some(Value::BulkString(bytes)) = answer.first() else { return None };
        let totals = flush::totals(&mut &bytes[..])?;
        sensors += totals.sensors;
        readings += totals.readings;
        shared.counters.gone(&totals);
    }
    Some((sensors, readings))
}
