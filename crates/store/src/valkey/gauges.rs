use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use opentelemetry::metrics::{AsyncInstrument, Meter};
use redis::Value;
use tokio::time::{MissedTickBehavior, interval};

use super::{
    cluster::Nodes,
    shared::{Counters, LEASE, NodeMemory, Shared, StoreTotals},
    value::{info, info_field},
    write,
};
use crate::instruments::{self, EvictionReason, StoreKind};

/// How often the server that holds the lease counts the partitions.
const INTERVAL: Duration = Duration::from_secs(5);

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
            if let Some(totals) = shared.totals.get() {
                instrument.observe(totals.sensors, &[StoreKind::Valkey.into()]);
            }
        }))
        .build();
    instruments::readings(meter)
        .with_callback(with(|shared, instrument| {
            if let Some(totals) = shared.totals.get() {
                instrument.observe(totals.readings, &[StoreKind::Valkey.into()]);
            }
        }))
        .build();
    instruments::sensor_limit(meter)
        .with_callback(with(|shared, instrument| {
            instrument.observe(shared.limits.sensors as u64, &[StoreKind::Valkey.into()]);
        }))
        .build();
    instruments::reading_limit(meter)
        .with_callback(with(|shared, instrument| {
            instrument.observe(shared.limits.readings as u64, &[StoreKind::Valkey.into()]);
        }))
        .build();
    instruments::memory_usage(meter)
        .with_callback(with(|shared, instrument| {
            if let Some(node) = shared.totals.get().and_then(|totals| totals.fullest) {
                instrument.observe(node.used, &[StoreKind::Valkey.into()]);
            }
        }))
        .build();
    instruments::memory_limit(meter)
        .with_callback(with(|shared, instrument| {
            if let Some(node) =
                shared.totals.get().and_then(|totals| totals.fullest).filter(|node| node.limit > 0)
            {
                instrument.observe(node.limit, &[StoreKind::Valkey.into()]);
            }
        }))
        .build();
    instruments::evicted(meter)
        .with_callback(with(|shared, instrument| {
            for reason in EvictionReason::ALL {
                let evicted = shared.counters.evicted(reason).load(Relaxed);
                instrument.observe(evicted, &[StoreKind::Valkey.into(), reason.into()]);
            }
        }))
        .build();
    instruments::expired_sensors(meter)
        .with_callback(with(|shared, instrument| {
            instrument.observe(shared.counters.expired_sensors.load(Relaxed), &[StoreKind::Valkey.into()]);
        }))
        .build();
    instruments::up(meter)
        .with_callback(with(|shared, instrument| {
            instrument.observe(u64::from(shared.availability.is_up()), &[StoreKind::Valkey.into()]);
        }))
        .build();
}

/// Counts what all partitions hold while this server holds the lease. Counting also expires the idle sensors of
/// partitions that get no readings.
pub(super) async fn report_totals(shared: Arc<Shared>, nodes: Arc<Nodes>) {
    let me = format!("{:016x}", fastrand::u64(..));
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let reports = nodes.ensure_layout().await.is_ok() && is_reporter(&shared, &nodes, &me).await;
        shared.totals.set(if reports { count(&shared, &nodes).await } else { None });
    }
}

/// Takes or renews the lease. `SET NX` before `GET`, so that of servers that start together one gets it.
async fn is_reporter(shared: &Shared, nodes: &Nodes, me: &str) -> bool {
    let partition = &shared.keys.all()[0];
    let key = partition.other("counts");
    let lease = u64::try_from(LEASE.as_millis()).unwrap_or(u64::MAX);
    let mut pipeline = redis::pipe();
    pipeline.cmd("SET").arg(&key).arg(me).arg("NX").arg("PX").arg(lease);
    pipeline.cmd("GET").arg(&key);
    let answer = nodes.execute_retrying(partition.slot, "SET", &pipeline).await;
    let mine = matches!(answer.as_deref(), Ok([_, Value::BulkString(holder)]) if holder == me.as_bytes());
    if mine {
        let mut renew = redis::pipe();
        renew.cmd("PEXPIRE").arg(&key).arg(lease);
        // If that fails the lease runs out and another server takes it.
        let _ = nodes.execute_retrying(partition.slot, "PEXPIRE", &renew).await;
    }
    mine
}

async fn count(shared: &Shared, nodes: &Nodes) -> Option<StoreTotals> {
    let mut all = StoreTotals::default();
    for partition in 0..shared.keys.all().len() {
        let totals = write::count_partition(shared, nodes, partition).await?;
        all.sensors += totals.sensors;
        all.readings += totals.readings;
    }
    all.fullest = fullest(shared, nodes).await;
    Some(all)
}

/// Returns the memory of the primary that has the smallest share of it left; none where an ACL hides `INFO`.
async fn fullest(shared: &Shared, nodes: &Nodes) -> Option<NodeMemory> {
    let mut asked = HashSet::new();
    let mut fullest: Option<NodeMemory> = None;
    for partition in shared.keys.all() {
        if !asked.insert(nodes.route(partition.slot).await.ok()?) {
            continue;
        }
        let mut pipeline = redis::pipe();
        pipeline.cmd("INFO").arg("memory");
        let answer = nodes.execute_retrying(partition.slot, "INFO", &pipeline).await.ok()?;
        let memory = NodeMemory::read(info(answer.first()?))?;
        if fullest.is_none_or(|other| memory.is_fuller(other)) {
            fullest = Some(memory);
        }
    }
    fullest
}

impl Counters {
    fn evicted(&self, reason: EvictionReason) -> &AtomicU64 {
        match reason {
            EvictionReason::Full => &self.evicted,
            EvictionReason::Idle => &self.expired_readings,
        }
    }
}

impl NodeMemory {
    fn read(info: &str) -> Option<Self> {
        let number = |name| info_field(info, name)?.parse().ok();
        Some(Self { used: number("used_memory")?, limit: number("maxmemory")? })
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
