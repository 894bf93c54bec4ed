//! Where an alert begins or ends: load histories → evaluate → compare-and-set the state in Valkey.
//!
//! Several servers may store readings of one sensor. Each judges what it stored against the sensor's recent history,
//! and the alert state in Valkey decides which of them announces a change: the one that finds the state as it was when
//! its readings were stored. If Valkey cannot be asked nothing is announced; the next reading that stands out tries
//! again.
//!
//! A runtime keeps the histories of the sensors it writes. A history is valid if it ends where the readings just stored
//! begin (`count == before`). Otherwise it is read from Valkey: another server stored readings in between, the history
//! was dropped, or *another flush of this runtime has it*: while a flush is judged its histories are out of the map, so
//! that no lock is held over the network, and the last to put one back wins. That costs a read, never a wrong history.

use std::{
    collections::{BTreeMap, VecDeque},
    mem,
};

use compact_str::CompactString;
use futures_util::future::join_all;
use hashbrown::HashMap;
use parking_lot::Mutex;
use redis::Value;

use super::{
    cluster::Nodes,
    record::unpack,
    scripts::{ALERT, TAIL, TAIL_SENSORS},
    shared::Shared,
};
use crate::{
    Alert,
    detector::{Detector, HISTORY, Rules},
};

/// Sensors in each of the two generations of [`Histories`].
const GENERATION: usize = 32_768;

/// Readings of one sensor that were just stored.
pub(super) struct Stored<'a> {
    /// The index of their item in the flush.
    pub(super) item: usize,
    pub(super) id: &'a str,
    pub(super) partition: usize,
    pub(super) packed: &'a [u8],
    /// Readings of the sensor before these.
    pub(super) before: u64,
    /// The alert state in Valkey.
    pub(super) state: u8,
}

/// Alerts that this server announces, by place in the item.
pub(super) struct Found {
    pub(super) item: usize,
    pub(super) alerts: Vec<(usize, Alert)>,
}

/// The recent history of the sensors that this runtime stores readings of.
///
/// Least recently used by halves: when the young generation is full it becomes the old one, and the old one is dropped.
#[derive(Debug, Default)]
pub(super) struct Histories(Mutex<[HashMap<CompactString, History>; 2]>);

#[derive(Debug, Default)]
struct History {
    /// The sequence number of the newest reading in it.
    count: u64,
    newest: VecDeque<f64>,
    detector: Detector,
}

/// A change of a sensor's alert state that this server found.
struct Change<'a> {
    stored: &'a Stored<'a>,
    state: u8,
    alerts: Vec<(usize, Alert)>,
}

/// Finds the alerts among what was just stored.
pub(super) async fn find(
    shared: &Shared,
    nodes: &Nodes,
    kept: &Histories,
    stored: &[Stored<'_>],
) -> Vec<Found> {
    if shared.rules.are_silent() || stored.is_empty() {
        return Vec::new();
    }
    let mut batch = BatchHistories::take(kept, &shared.rules, stored);
    batch.load(shared, nodes).await;
    let changes = batch.evaluate(&shared.rules);
    batch.put_back(kept);
    announce(shared, nodes, changes).await
}

/// The histories of what was just stored, out of the map.
struct BatchHistories<'a>(Vec<(&'a Stored<'a>, History)>);

impl<'a> BatchHistories<'a> {
    fn take(kept: &Histories, rules: &Rules, stored: &'a [Stored<'a>]) -> Self {
        let mut generations = kept.0.lock();
        let mut take = |id: &str| {
            if !rules.need_history() {
                return History::default();
            }
            let [young, old] = &mut *generations;
            young.remove(id).or_else(|| old.remove(id)).unwrap_or_default()
        };
        Self(stored.iter().map(|stored| (stored, take(stored.id))).collect())
    }

    /// Reads the histories that do not end where the stored readings begin, one call per partition and
    /// [`TAIL_SENSORS`]. A history that cannot be read is empty, and an empty one finds no outlier.
    async fn load(&mut self, shared: &Shared, nodes: &Nodes) {
        if !shared.rules.need_history() {
            return;
        }
        let mut missing = BTreeMap::<usize, Vec<(&Stored<'_>, &mut History)>>::new();
        for (stored, history) in &mut self.0 {
            if stored.before != history.count {
                missing.entry(stored.partition).or_default().push((stored, history));
            }
        }
        let loads = missing.into_iter().map(async |(partition, mut missing)| {
            for part in missing.chunks_mut(TAIL_SENSORS) {
                load_tails(shared, nodes, partition, part).await;
            }
        });
        join_all(loads).await;
    }

    /// Judges the readings, each against those before it, and adds them to the histories.
    fn evaluate(&mut self, rules: &Rules) -> Vec<Change<'a>> {
        let changes = self.0.iter_mut().filter_map(|(stored, history)| {
            let alerts = history.evaluate(rules, stored);
            (!alerts.is_empty()).then(|| Change { stored, state: history.detector.state(), alerts })
        });
        changes.collect()
    }

    fn put_back(self, kept: &Histories) {
        let mut generations = kept.0.lock();
        for (stored, history) in self.0.into_iter().filter(|(_, history)| !history.newest.is_empty()) {
            if generations[0].len() >= GENERATION {
                generations[1] = mem::take(&mut generations[0]);
            }
            generations[0].insert(stored.id.into(), history);
        }
    }
}

impl History {
    fn evaluate(&mut self, rules: &Rules, stored: &Stored<'_>) -> Vec<(usize, Alert)> {
        self.detector.resume(stored.state);
        let mut alerts = Vec::new();
        let readings = unpack(stored.packed);
        self.count = stored.before + readings.len() as u64;
        for (place, reading) in readings.enumerate() {
            let value = reading.temperature;
            if !self.detector.all_within(rules, value, value) {
                let alert = self.detector.evaluate(rules, value, self.newest.iter().rev().copied());
                alerts.extend(alert.map(|alert| (place, alert)));
            }
            if rules.need_history() {
                if self.newest.len() == HISTORY {
                    self.newest.pop_front();
                }
                self.newest.push_back(value);
                self.detector.observe(rules, 1, self.newest.iter().rev().copied());
            }
        }
        alerts
    }

    fn restart(&mut self, rules: &Rules, newest: impl Iterator<Item = f64>) {
        *self = Self { newest: newest.collect(), ..Self::default() };
        self.detector.refresh_from(rules, self.newest.iter().rev().copied());
    }
}

async fn load_tails(
    shared: &Shared,
    nodes: &Nodes,
    partition: usize,
    missing: &mut [(&Stored<'_>, &mut History)],
) {
    let partition = &shared.keys.all()[partition];
    let mut keys = vec![partition.statistics()];
    keys.extend(missing.iter().map(|(stored, _)| partition.stream(stored.id)));
    let mut call = TAIL.call(keys.iter().map(String::as_str));
    call.arg(HISTORY).arg(partition.stream_prefix());
    for (stored, _) in &*missing {
        call.arg(stored.before);
    }
    let answer = nodes.execute_retrying(partition.slot, "EVALSHA", redis::pipe().add_command(call)).await;
    let tails = match answer.as_deref() {
        Ok([Value::Array(answers)]) => answers.chunks(2).map(|answer| answer.get(1)).collect(),
        _ => Vec::new(),
    };
    for (at, (_, history)) in missing.iter_mut().enumerate() {
        match tails.get(at) {
            Some(Some(Value::BulkString(tail))) => {
                history.restart(&shared.rules, unpack(tail).map(|reading| reading.temperature));
            }
            _ => history.restart(&shared.rules, std::iter::empty()),
        }
    }
}

/// Compares and sets the states, in one call a partition, and returns the alerts of the changes that were made here. Not
/// retried: a repetition would find the state it set itself and lose against itself.
async fn announce(shared: &Shared, nodes: &Nodes, changes: Vec<Change<'_>>) -> Vec<Found> {
    let mut partitions = BTreeMap::<usize, Vec<Change<'_>>>::new();
    for change in changes {
        partitions.entry(change.stored.partition).or_default().push(change);
    }
    let calls = partitions.into_iter().map(async |(partition, changes)| {
        let partition = &shared.keys.all()[partition];
        let mut call = ALERT.call([partition.statistics().as_str()].into_iter());
        for Change { stored, state, alerts } in &changes {
            let begun = alerts.iter().filter(|(_, alert)| alert.began).count();
            let mut change = vec![stored.state, *state];
            change.extend(u32::try_from(begun).unwrap_or(u32::MAX).to_le_bytes());
            call.arg(stored.id).arg(change);
        }
        let answer = nodes.execute_once(partition.slot, "EVALSHA", redis::pipe().add_command(call)).await;
        let made = match answer.as_deref() {
            Ok([Value::BulkString(made)]) => made.clone(),
            _ => Vec::new(),
        };
        (changes, made)
    });
    let mut found = Vec::new();
    for (changes, made) in join_all(calls).await {
        // A byte per change: 1 if it was made. None of them is announced if there is no answer.
        let made = changes.into_iter().zip(made).filter(|(_, made)| *made == 1);
        found.extend(made.map(|(change, _)| Found { item: change.stored.item, alerts: change.alerts }));
    }
    found
}
