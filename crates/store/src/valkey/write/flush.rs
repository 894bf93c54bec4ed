//! Sends what is pending: plan → route → send → classify, and again for what was certainly not executed.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use tokio::time::sleep;

use super::{
    super::{
        cluster::{Connection, ConnectionRole, Failure, Nodes},
        shared::Shared,
    },
    append::{self, Part},
    durability,
    pending::{Item, Outcome, Pending},
};

/// Sensors in one script call at most: Valkey serves nothing else during a call, and the call has their number in a
/// byte.
const MAX_SENSORS: usize = 128;
/// The pause before the first retry; it doubles up to the second number.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(100));

/// The input of one script call: parts of one slot in a cluster, else of any.
#[derive(Default)]
struct Call {
    parts: Vec<Part>,
    /// The node to send it to instead of the one that serves the slot.
    ask: Option<String>,
}

/// Calls for one node. With `asking` each follows an `ASKING`, since the node does not serve the slot yet.
struct Group {
    address: String,
    asking: bool,
    calls: Vec<Call>,
}

type Sent = Vec<(Call, Result<Vec<Outcome>, Failure>)>;

/// Gives every pending item an outcome.
///
/// Readings of one sensor keep their order of arrival: they are in one item, or in items of ascending passes, whose
/// calls follow each other in one pipeline. Between flushes a call's own order is kept because it hands over its next
/// batch when this one is complete.
pub(super) async fn store(shared: &Shared, nodes: &Nodes, connection_index: usize, pending: &mut Pending) {
    let deadline = Instant::now() + nodes.settings().timeout;
    if let Err(failure) = nodes.ensure_layout().await {
        pending.fail_all(failure.text());
        return;
    }
    let mut calls = plan(shared, &pending.items, nodes.settings().cluster);
    let mut pause = BACKOFF.0;
    loop {
        let (groups, mut results) = route(shared, nodes, calls).await;
        let items = &pending.items;
        let sent = groups.into_iter().map(|group| send(shared, nodes, connection_index, group, items));
        results.extend(join_all(sent).await.into_iter().flatten());
        calls = classify(results, Instant::now() < deadline, pending);
        if calls.is_empty() {
            return;
        }
        sleep(pause).await;
        pause = (pause * 2).min(BACKOFF.1);
    }
}

/// Divides the items into calls. No call has a sensor twice: its items of a later pass go into a later call, since
/// the script reads each record once. A call costs as much as several sensors, so where there is no cluster it has
/// several partitions.
fn plan(shared: &Shared, items: &[Item], cluster: bool) -> Vec<Call> {
    let mut groups = BTreeMap::<(usize, usize), Vec<usize>>::new();
    for (at, item) in items.iter().enumerate() {
        groups.entry((item.pass, item.partition)).or_default().push(at);
    }
    let mut calls = Vec::<Call>::new();
    let mut last = None;
    let mut room = 0;
    for ((pass, partition), items) in groups {
        let target = (pass, cluster.then(|| shared.keys.all()[partition].slot));
        let mut items = &items[..];
        while !items.is_empty() {
            if room == 0 || last != Some(target) {
                calls.push(Call::default());
                (last, room) = (Some(target), MAX_SENSORS);
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

/// Groups calls by node; those without a node come back as not sent.
async fn route(shared: &Shared, nodes: &Nodes, calls: Vec<Call>) -> (Vec<Group>, Sent) {
    let (mut groups, mut unrouted) = (BTreeMap::<(String, bool), Vec<Call>>::new(), Sent::new());
    for mut call in calls {
        let (asking, address) = match call.ask.take() {
            Some(address) => (true, Ok(address)),
            None => (false, nodes.route(call.slot(shared)).await),
        };
        match address {
            Ok(address) => groups.entry((address, asking)).or_default().push(call),
            Err(failure) => unrouted.push((call, Err(failure))),
        }
    }
    let groups = groups.into_iter().map(|((address, asking), calls)| Group { address, asking, calls });
    (groups.collect(), unrouted)
}

/// Sends the calls of one node in one pipeline, with the wait for replicas or disk behind them.
async fn send(
    shared: &Shared,
    nodes: &Nodes,
    connection_index: usize,
    Group { address, asking, calls }: Group,
    items: &[Item],
) -> Sent {
    let all = |calls: Vec<Call>, failure: &Failure| -> Sent {
        calls.into_iter().map(|call| (call, Err(failure.clone()))).collect()
    };
    let connection = match nodes.connection(&address, ConnectionRole::Write(connection_index)).await {
        Ok(connection) => connection,
        Err(failure) => return all(calls, &failure),
    };
    let mut pipeline = redis::pipe();
    for call in &calls {
        if asking {
            pipeline.cmd("ASKING");
        }
        pipeline.add_command(append::command(shared, &call.parts, items));
    }
    let wait = durability::wait(nodes);
    let waits = wait.is_some();
    if let Some(wait) = wait {
        pipeline.add_command(wait);
    }
    let mut replies = match nodes.execute(&connection, "EVALSHA", &pipeline).await {
        Ok(replies) => replies,
        Err(failure) => return all(calls, &failure),
    };
    let acknowledged = if waits {
        replies.pop().map_or(Err(durability::unreadable()), durability::acknowledged)
    } else {
        Ok(())
    };
    let replies = replies.into_iter().skip(usize::from(asking)).step_by(1 + usize::from(asking));
    let mut sent = Sent::new();
    for (call, reply) in calls.into_iter().zip(replies) {
        let result = outcomes(shared, nodes, &connection, &call, reply, &acknowledged).await;
        sent.push((call, result));
    }
    sent
}

async fn outcomes(
    shared: &Shared,
    nodes: &Nodes,
    connection: &Connection,
    call: &Call,
    reply: redis::Value,
    acknowledged: &Result<(), Failure>,
) -> Result<Vec<Outcome>, Failure> {
    match Failure::check(reply) {
        Ok(reply) => {
            acknowledged.clone()?;
            append::parse(shared, &reply, &call.parts)
        }
        Err(failure) => {
            nodes.recover_from(connection, &failure).await;
            Err(failure)
        }
    }
}

/// Notes the outcome of each call and returns those to send again.
fn classify(results: Sent, in_time: bool, pending: &mut Pending) -> Vec<Call> {
    let mut again = Vec::new();
    for (mut call, result) in results {
        match result {
            Ok(outcomes) => {
                for (item, outcome) in call.items().zip(outcomes) {
                    pending.items[item].outcome = outcome;
                }
            }
            Err(failure) if in_time && failure.may_retry() => {
                if let Failure::Rejected { ask, .. } = failure {
                    call.ask = ask;
                }
                again.push(call);
            }
            // AN UNKNOWN OUTCOME IS NEVER SENT AGAIN. The script may have run, and running it a second time would store
            // the readings twice; nothing in the data tells a repetition from two equal readings. The caller learns
            // that it is not known, and decides.
            Err(failure) => pending.fail(call.items(), failure.text()),
        }
    }
    again
}

impl Call {
    fn slot(&self, shared: &Shared) -> u16 {
        shared.keys.all()[self.parts[0].partition].slot
    }

    fn items(&self) -> impl Iterator<Item = usize> {
        self.parts.iter().flat_map(|part| part.items.iter().copied())
    }
}

#[cfg(test)]
mod tests {
    use super::{super::super::keys::Keys, *};
    use crate::{Batch, Reading};

    /// Of three calls one was rejected before it began, one has an unknown outcome and one succeeded.
    #[test]
    fn unknown_outcome_is_not_sent_again() {
        let (keys, mut pending) = (Keys::new("test", 4), Pending::default());
        let mut batch = Batch::default();
        for id in ["moved", "lost", "stored"] {
            batch.push(id, Reading { temperature: 1.0, timestamp: 1 });
        }
        let _completed = pending.add(&keys, &batch);
        let rejected = || Failure::Rejected { ask: None, load: false, moved: true, text: "MOVED".to_owned() };
        let results = |first: Failure| -> Sent {
            let call = |item| Call { parts: vec![Part { partition: 0, items: vec![item] }], ask: None };
            let stored = Outcome::Stored { before: 0, evicted: 0, state: 0 };
            let lost = Failure::Unknown("timed out".to_owned());
            vec![(call(0), Err(first)), (call(1), Err(lost)), (call(2), Ok(vec![stored]))]
        };
        let again = classify(results(rejected()), true, &mut pending);
        assert_eq!(again.iter().flat_map(Call::items).collect::<Vec<_>>(), [0]);
        assert!(matches!(&pending.items[1].outcome, Outcome::Failed(text) if &**text == "timed out"));
        assert!(matches!(pending.items[2].outcome, Outcome::Stored { .. }));
        let late = classify(results(rejected()), false, &mut pending);
        assert!(
            late.is_empty()
                && matches!(&pending.items[0].outcome, Outcome::Failed(text) if &**text == "MOVED")
        );
    }
}
