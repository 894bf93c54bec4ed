use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use redis::{Cmd, Value};
use tokio::time::sleep;

use super::{
    Acknowledge, Shared, check,
    connect::{Lane, wait_limit},
    failure::Failure,
    nodes::Nodes,
    pending::{Item, Outcome, Pending},
    record::{take, whole},
    scripts::APPEND,
};
use crate::{Refusal, summary::Summary};

/// Sensors in one script call at most: a call must not take long, and says their number in a byte.
const SENSORS: u8 = 128;

/// Items of one partition; without any it only forgets idle sensors and counts.
#[derive(Default)]
pub(super) struct Part {
    pub(super) partition: usize,
    pub(super) items: Vec<usize>,
}

/// What is sent in one script call: parts of one slot, or of any where all slots are one server's.
#[derive(Default)]
struct Call {
    parts: Vec<Part>,
    /// The node to ask instead of the one in charge.
    ask: Option<String>,
}

/// Stores what is pending: few script calls, all for a node in one pipeline, with the wait for replicas or disk behind
/// them on the same connection. What a server refused before it began is sent again while time allows;
/// what is of unknown outcome is not.
pub(super) async fn store(shared: &Shared, nodes: &Nodes, lane: usize, pending: &mut Pending) {
    let deadline = Instant::now() + nodes.settings().timeout;
    if let Err(failure) = check::layout(nodes).await {
        let text: Arc<str> = failure.text().into();
        for item in &mut pending.items {
            item.outcome = Outcome::Failed(Arc::clone(&text));
        }
        return;
    }
    let mut open = calls(shared, &pending.items, nodes.settings().cluster);
    let mut pause = Duration::from_millis(5);
    loop {
        let (mut groups, mut again) = (BTreeMap::<(String, bool), Vec<Call>>::new(), Vec::new());
        for mut call in open {
            let asking = call.ask.is_some();
            let address = match call.ask.take() {
                Some(address) => Ok(address),
                None => nodes.route(call.slot(shared)).await,
            };
            match address {
                Ok(address) => groups.entry((address, asking)).or_default().push(call),
                Err(failure) => again.push((call, failure)),
            }
        }
        let items = &pending.items;
        let sent = groups
            .into_iter()
            .map(|((address, asking), calls)| send(shared, nodes, address, asking, lane, calls, items));
        for (call, result) in join_all(sent).await.into_iter().flatten() {
            match result {
                Ok(outcomes) => {
                    for (item, outcome) in call.items().zip(outcomes) {
                        pending.items[item].outcome = outcome;
                    }
                }
                Err(failure) => again.push((call, failure)),
            }
        }
        let expired = Instant::now() >= deadline;
        open = Vec::new();
        for (mut call, failure) in again {
            if expired || !failure.may_repeat() {
                let text: Arc<str> = failure.text().into();
                for item in call.items() {
                    pending.items[item].outcome = Outcome::Failed(Arc::clone(&text));
                }
            } else {
                if let Failure::Refused { ask, .. } = failure {
                    call.ask = ask;
                }
                open.push(call);
            }
        }
        if open.is_empty() {
            return;
        }
        sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(100));
    }
}

impl Call {
    fn slot(&self, shared: &Shared) -> u16 {
        shared.keys.all()[self.parts[0].partition].slot
    }

    fn items(&self) -> impl Iterator<Item = usize> {
        self.parts.iter().flat_map(|part| part.items.iter().copied())
    }
}

/// A call has no sensor twice: its items of a later round go in a later call. A call costs as much as some sensors, so
/// where there is no cluster it has several partitions.
fn calls(shared: &Shared, items: &[Item], cluster: bool) -> Vec<Call> {
    let mut groups = BTreeMap::<(usize, usize), Vec<usize>>::new();
    for (at, item) in items.iter().enumerate() {
        groups.entry((item.round, item.partition)).or_default().push(at);
    }
    let mut calls = Vec::<Call>::new();
    let mut last = None;
    let mut room = 0;
    for ((round, partition), items) in groups {
        let target = (round, cluster.then(|| shared.keys.all()[partition].slot));
        let mut items = &items[..];
        while !items.is_empty() {
            if room == 0 || last != Some(target) {
                calls.push(Call::default());
                (last, room) = (Some(target), usize::from(SENSORS));
            }
            let (now, later) = items.split_at(items.len().min(room));
            let call = calls.last_mut().expect("one was begun");
            call.parts.push(Part { partition, items: now.to_vec() });
            room -= now.len();
            items = later;
        }
    }
    calls
}

type Sent = Vec<(Call, Result<Vec<Outcome>, Failure>)>;

async fn send(
    shared: &Shared,
    nodes: &Nodes,
    address: String,
    asking: bool,
    lane: usize,
    calls: Vec<Call>,
    items: &[Item],
) -> Sent {
    let all = |calls: Vec<Call>, failure: &Failure| -> Sent {
        calls.into_iter().map(|call| (call, Err(failure.clone()))).collect()
    };
    let connection = match nodes.connection(&address, Lane::Write(lane)).await {
        Ok(connection) => connection,
        Err(failure) => return all(calls, &failure),
    };
    let mut pipeline = redis::pipe();
    for call in &calls {
        if asking {
            pipeline.cmd("ASKING");
        }
        pipeline.add_command(append(shared, &call.parts, items));
    }
    let wait = wait(nodes);
    let waits = wait.is_some();
    if let Some(wait) = wait {
        pipeline.add_command(wait);
    }
    let mut values = match nodes.run(&connection, "EVALSHA", &pipeline).await {
        Ok(values) => values,
        Err(failure) => return all(calls, &failure),
    };
    let acknowledged = if waits { values.pop().map_or(Err(unreadable()), acknowledged) } else { Ok(()) };
    let answers = values.into_iter().skip(usize::from(asking)).step_by(1 + usize::from(asking));
    let mut sent = Sent::new();
    for (call, value) in calls.into_iter().zip(answers) {
        let result = match Failure::check(value) {
            Ok(value) => acknowledged.clone().and_then(|()| read(shared, &value, &call.parts)),
            Err(failure) => {
                nodes.heed(&connection, &failure).await;
                Err(failure)
            }
        };
        sent.push((call, result));
    }
    sent
}

/// A script call.
pub(super) fn append(shared: &Shared, parts: &[Part], items: &[Item]) -> Cmd {
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

/// Waits for what this connection has written so far.
fn wait(nodes: &Nodes) -> Option<Cmd> {
    let limit = u64::try_from(wait_limit(nodes.settings()).as_millis()).unwrap_or(u64::MAX);
    match nodes.settings().acknowledge {
        Acknowledge::Primary => None,
        Acknowledge::Replica => Some(redis::cmd("WAIT").arg(1).arg(limit).take()),
        Acknowledge::Fsync => Some(redis::cmd("WAITAOF").arg(1).arg(0).arg(limit).take()),
    }
}

fn acknowledged(value: Value) -> Result<(), Failure> {
    let reached = match Failure::check(value)? {
        Value::Int(reached) => reached,
        Value::Array(reached) => match reached.first() {
            Some(Value::Int(reached)) => *reached,
            _ => return Err(unreadable()),
        },
        _ => return Err(unreadable()),
    };
    if reached > 0 {
        Ok(())
    } else {
        Err(Failure::Unknown("the readings did not reach a replica or disk in time".to_owned()))
    }
}

fn read(shared: &Shared, value: &Value, parts: &[Part]) -> Result<Vec<Outcome>, Failure> {
    let Value::BulkString(bytes) = value else { return Err(unreadable()) };
    let mut bytes = &bytes[..];
    let mut outcomes = Vec::new();
    for part in parts {
        let totals = totals(&mut bytes).ok_or_else(unreadable)?;
        shared.counters.gone(&totals);
        for _ in &part.items {
            outcomes.push(outcome(&mut bytes).ok_or_else(unreadable)?);
        }
    }
    for outcome in &outcomes {
        if let Outcome::Stored { evicted, .. } = outcome {
            shared.counters.evicted.fetch_add(*evicted, Relaxed);
        }
    }
    Ok(outcomes)
}

/// What a partition holds, and what went in this call.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Totals {
    pub(super) sensors: u64,
    pub(super) readings: u64,
    pub(super) forgotten: u64,
    pub(super) expired: u64,
}

/// Takes the totals off an answer.
pub(super) fn totals(bytes: &mut &[u8]) -> Option<Totals> {
    let mut number = || Some(whole(f64::from_le_bytes(take(bytes)?)));
    Some(Totals { sensors: number()?, readings: number()?, forgotten: number()?, expired: number()? })
}

fn outcome(bytes: &mut &[u8]) -> Option<Outcome> {
    let [code, state] = take(bytes)?;
    let before = whole(f64::from_le_bytes(take(bytes)?));
    let evicted = whole(f64::from_le_bytes(take(bytes)?));
    match code {
        0 => Some(Outcome::Stored { before, evicted, state }),
        1 => Some(Outcome::Refused(Refusal::TooManySensors)),
        2 => Some(Outcome::Refused(Refusal::Full)),
        _ => None,
    }
}

fn unreadable() -> Failure {
    Failure::Unknown("the answer of the append script cannot be read".to_owned())
}
