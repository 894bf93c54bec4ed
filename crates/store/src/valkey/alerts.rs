use std::{
    collections::{BTreeMap, VecDeque},
    mem,
    sync::{Mutex, PoisonError},
};

use compact_str::CompactString;
use futures_util::future::join_all;
use hashbrown::HashMap;
use redis::Value;

use super::{
    Shared,
    nodes::Nodes,
    pending::{Item, Outcome, Pending},
    record::unpack,
    scripts::{ALERT, TAIL},
};
use crate::detector::{Detector, HISTORY};

/// Sensors whose recent history a runtime keeps in each of two generations.
const KEPT: usize = 32_768;

/// The recent history of the sensors this runtime stores readings of.
///
/// Kept in two generations: when the young one is full it becomes the old one, and what is not asked for again until
/// then goes.
#[derive(Debug, Default)]
pub(super) struct Histories(Mutex<[HashMap<CompactString, History>; 2]>);

#[derive(Debug, Default)]
struct History {
    /// Readings of the sensor so far, those of other servers too.
    count: u64,
    newest: VecDeque<f64>,
    detector: Detector,
}

/// A change of a sensor's alert state that this server found.
struct Change {
    item: usize,
    from: u8,
    to: u8,
    begun: u32,
}

/// Finds the alerts among what was just stored. A change is announced if the store still has the state it changes:
/// of several servers one announces it. If the store cannot be asked nothing is announced, and the next reading that
/// stands out tries again.
pub(super) async fn find(shared: &Shared, nodes: &Nodes, histories: &Histories, pending: &mut Pending) {
    if shared.rules.are_silent() {
        return;
    }
    let mut stored = histories.take(shared, &pending.items);
    fetch_missing(shared, nodes, &pending.items, &mut stored).await;
    let mut changes = Vec::new();
    for (at, history) in &mut stored {
        changes.extend(history.judge(shared, *at, &mut pending.items[*at]));
    }
    histories.put(stored.into_iter().map(|(at, history)| (pending.items[at].id.clone(), history)));
    announce(shared, nodes, changes, &mut pending.items).await;
}

impl Histories {
    fn take(&self, shared: &Shared, items: &[Item]) -> Vec<(usize, History)> {
        let mut generations = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let stored =
            items.iter().enumerate().filter(|(_, item)| matches!(item.outcome, Outcome::Stored { .. }));
        let mut take = |id| {
            if !shared.rules.need_history() {
                return History::default();
            }
            let [young, old] = &mut *generations;
            young.remove(id).or_else(|| old.remove(id)).unwrap_or_default()
        };
        stored.map(|(at, item)| (at, take(&item.id))).collect()
    }

    fn put(&self, histories: impl Iterator<Item = (CompactString, History)>) {
        let mut generations = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (id, history) in histories.filter(|(_, history)| !history.newest.is_empty()) {
            if generations[0].len() >= KEPT {
                generations[1] = mem::take(&mut generations[0]);
            }
            generations[0].insert(id, history);
        }
    }
}

impl History {
    /// Judges the item's readings, which follow this history, and notes its alerts in it.
    fn judge(&mut self, shared: &Shared, at: usize, item: &mut Item) -> Option<Change> {
        let Outcome::Stored { before, state, .. } = item.outcome else { return None };
        self.detector.resume(state);
        let mut alerts = Vec::new();
        for (place, reading) in item.readings().enumerate() {
            let value = reading.temperature;
            if !self.detector.all_within(&shared.rules, value, value) {
                let alert = self.detector.evaluate(&shared.rules, value, self.newest.iter().rev().copied());
                alerts.extend(alert.map(|alert| (place, alert)));
            }
            if shared.rules.need_history() {
                if self.newest.len() == HISTORY {
                    self.newest.pop_front();
                }
                self.newest.push_back(value);
                self.detector.observe(&shared.rules, 1, self.newest.iter().rev().copied());
            }
        }
        self.count = before + item.len() as u64;
        let begun = alerts.iter().filter(|(_, alert)| alert.began).count();
        item.alerts = alerts;
        let begun = u32::try_from(begun).unwrap_or(u32::MAX);
        (!item.alerts.is_empty()).then_some(Change {
            item: at,
            from: state,
            to: self.detector.state(),
            begun,
        })
    }

    fn restart(&mut self, shared: &Shared, newest: impl Iterator<Item = f64>) {
        *self = Self { newest: newest.collect(), ..Self::default() };
        self.detector.refresh_from(&shared.rules, self.newest.iter().rev().copied());
    }
}

/// Histories that do not reach up to the readings just stored, because another server stored some in between or this
/// one has forgotten, are read from the store.
async fn fetch_missing(shared: &Shared, nodes: &Nodes, items: &[Item], stored: &mut [(usize, History)]) {
    if !shared.rules.need_history() {
        return;
    }
    let mut missing = BTreeMap::<usize, Vec<(&Item, u64, &mut History)>>::new();
    for (at, history) in stored {
        let item = &items[*at];
        if let Outcome::Stored { before, .. } = item.outcome
            && before != history.count
        {
            missing.entry(item.partition).or_default().push((item, before, history));
        }
    }
    let fetched = missing.into_iter().map(async |(partition, mut missing)| {
        let partition = &shared.keys.all()[partition];
        for part in missing.chunks_mut(super::list::SENSORS) {
            let mut keys = vec![partition.statistics()];
            keys.extend(part.iter().map(|(item, ..)| partition.stream(&item.id)));
            let mut call = TAIL.call(keys.iter().map(String::as_str));
            call.arg(HISTORY).arg(partition.stream_prefix());
            for (_, before, _) in &*part {
                call.arg(before);
            }
            let answer = nodes.query(partition.slot, "EVALSHA", redis::pipe().add_command(call)).await;
            let tails = match answer.as_deref() {
                Ok([Value::Array(answers)]) => answers.chunks(2).map(|answer| answer.get(1)).collect(),
                _ => Vec::new(),
            };
            for (at, (_, _, history)) in part.iter_mut().enumerate() {
                match tails.get(at) {
                    Some(Some(Value::BulkString(tail))) => {
                        history.restart(shared, unpack(tail).map(|reading| reading.temperature));
                    }
                    _ => history.restart(shared, std::iter::empty()),
                }
            }
        }
    });
    join_all(fetched).await;
}

/// Compares and sets the states, in one call a partition; what lost against another server is not announced.
async fn announce(shared: &Shared, nodes: &Nodes, changes: Vec<Change>, items: &mut [Item]) {
    let mut partitions = BTreeMap::<usize, Vec<Change>>::new();
    for change in changes {
        partitions.entry(items[change.item].partition).or_default().push(change);
    }
    let asked = partitions.into_iter().map(|(partition, changes)| {
        let partition = &shared.keys.all()[partition];
        let mut call = ALERT.call([partition.statistics().as_str()].into_iter());
        for Change { item, from, to, begun } in &changes {
            let mut change = vec![*from, *to];
            change.extend(begun.to_le_bytes());
            call.arg(&items[*item].id[..]).arg(change);
        }
        async move { (changes, nodes.once(partition.slot, "EVALSHA", redis::pipe().add_command(call)).await) }
    });
    for (changes, answer) in join_all(asked).await {
        let won = match answer.as_deref() {
            Ok([Value::BulkString(won)]) => &won[..],
            _ => &[],
        };
        for (at, change) in changes.iter().enumerate() {
            if won.get(at) != Some(&1) {
                items[change.item].alerts.clear();
            }
        }
    }
}
