//! A call of `scripts/append.lua` and its reply.

use std::sync::atomic::Ordering::Relaxed;

use redis::{Cmd, Value};

use super::{
    super::{
        cluster::{Failure, Nodes},
        record::{take, whole},
        scripts::APPEND,
        shared::{Shared, Totals},
    },
    pending::{Item, Outcome},
};
use crate::{RejectReason, summary::Summary};

/// Items of one partition; without any the call only expires idle sensors and counts.
#[derive(Default)]
pub(super) struct Part {
    pub(super) partition: usize,
    pub(super) items: Vec<usize>,
}

pub(super) fn command(shared: &Shared, parts: &[Part], items: &[Item]) -> Cmd {
    let mut keys = Vec::new();
    for Part { partition, items: places } in parts {
        let partition = &shared.keys.all()[*partition];
        keys.extend([partition.statistics(), partition.index(), partition.names()]);
        keys.extend(places.iter().map(|at| partition.stream(&items[*at].id)));
    }
    let mut call = APPEND.call(keys.iter().map(String::as_str));
    let share = |limit: usize| (limit / shared.keys.all().len()).max(1) as f64;
    let limits = &shared.limits;
    let bounds =
        [limits.readings_per_sensor as f64, share(limits.sensors), share(limits.readings), shared.idle];
    let mut packed = bounds.map(f64::to_le_bytes).as_flattened().to_vec();
    let mut readings = Vec::new();
    for Part { items: places, .. } in parts {
        packed.push(u8::try_from(places.len()).expect("no more than fit into a call"));
        for item in places.iter().map(|at| &items[*at]) {
            readings.clear();
            readings.extend(item.readings());
            let Summary { mean, m2, min, max, .. } = Summary::of(&readings);
            packed.extend([mean, m2, min, max].map(f64::to_le_bytes).as_flattened());
            call.arg(&item.packed[..]);
        }
    }
    call.arg(packed);
    call
}

/// The outcome of each item, in the order of the parts.
pub(super) fn parse(shared: &Shared, reply: &Value, parts: &[Part]) -> Result<Vec<Outcome>, Failure> {
    let Value::BulkString(bytes) = reply else { return Err(unreadable()) };
    let mut bytes = &bytes[..];
    let mut outcomes = Vec::new();
    for part in parts {
        let totals = parse_totals(&mut bytes).ok_or_else(unreadable)?;
        shared.counters.add_expired(&totals);
        for _ in &part.items {
            outcomes.push(parse_outcome(&mut bytes).ok_or_else(unreadable)?);
        }
    }
    for outcome in &outcomes {
        if let Outcome::Stored { evicted, .. } = outcome {
            shared.counters.evicted.fetch_add(*evicted, Relaxed);
        }
    }
    Ok(outcomes)
}

/// Expires idle sensors of a partition and counts what it holds. May be repeated.
pub(in crate::valkey) async fn count_partition(
    shared: &Shared,
    nodes: &Nodes,
    partition: usize,
) -> Option<Totals> {
    let mut pipeline = redis::pipe();
    pipeline.add_command(command(shared, &[Part { partition, items: Vec::new() }], &[]));
    let slot = shared.keys.all()[partition].slot;
    let replies = nodes.execute_retrying(slot, "EVALSHA", &pipeline).await.ok()?;
    let Some(Value::BulkString(bytes)) = replies.first() else { return None };
    let totals = parse_totals(&mut &bytes[..])?;
    shared.counters.add_expired(&totals);
    Some(totals)
}

fn parse_totals(bytes: &mut &[u8]) -> Option<Totals> {
    let mut number = || Some(whole(f64::from_le_bytes(take(bytes)?)));
    Some(Totals {
        sensors: number()?,
        readings: number()?,
        expired_sensors: number()?,
        expired_readings: number()?,
    })
}

fn parse_outcome(bytes: &mut &[u8]) -> Option<Outcome> {
    let [code, state] = take(bytes)?;
    let before = whole(f64::from_le_bytes(take(bytes)?));
    let evicted = whole(f64::from_le_bytes(take(bytes)?));
    match code {
        0 => Some(Outcome::Stored { before, evicted, state }),
        1 => Some(Outcome::Rejected(RejectReason::TooManySensors)),
        2 => Some(Outcome::Rejected(RejectReason::Full)),
        _ => None,
    }
}

pub(super) fn unreadable() -> Failure {
    Failure::Unknown("cannot parse the reply of the append script".to_owned())
}
