//! The pending batches of several calls, and their outcome.
//!
//! Readings are grouped by sensor into items, and each item remembers which reading came from which call:
//!
//! ```text
//!   call 0: a b a c        item a: a₀⁰ a₂⁰ a₀¹   origins (0,0) (0,2) (1,0)
//!   call 1: a d            item b: b₁⁰           origins (0,1)
//!                          item c: c₃⁰           origins (0,3)       ✗ this script call failed
//!                          item d: d₁¹           origins (1,1)
//! ```
//!
//! In `a₂⁰`, the subscript is the place in the call's batch and the superscript is the call; an origin is `(call, place)`.
//!
//! A report says how many readings *at the beginning of the batch* are stored, since a number has to tell the caller
//! which. So if item c failed, call 0 reports a prefix: the readings before its first failed or rejected one, here 3,
//! although what follows may be stored. Call 1, none of whose readings failed, reports all of its own.
//!
//! An item takes up to [`MAX_ENTRY`] readings; further readings of the sensor open another one of the next *pass*. A
//! script call has no sensor twice, so items of pass 1 are sent in calls behind those of pass 0.

use std::sync::Arc;

use compact_str::CompactString;
use hashbrown::HashMap;
use opentelemetry::trace::SpanContext;
use tokio::sync::oneshot;

use super::super::{
    alerts,
    keys::Keys,
    record::{pack, unpack},
};
use crate::{Alert, Batch, Reading, RejectReason, Report};

/// The maximum number of readings in one stream entry, so that readers get chunks of a bounded size.
const MAX_ENTRY: usize = 1024;

/// The pending readings of several calls, by sensor.
#[derive(Debug, Default)]
pub(super) struct Pending {
    pub(super) items: Vec<Item>,
    /// The item that a sensor's next reading goes into.
    open: HashMap<CompactString, usize>,
    calls: Vec<oneshot::Sender<Completed>>,
    pub(super) readings: usize,
    /// The first sampled call.
    pub(super) sampled: Option<SpanContext>,
}

/// Readings of one sensor.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) id: CompactString,
    pub(super) partition: usize,
    /// The number of items of the same sensor before this one.
    pub(super) pass: usize,
    pub(super) packed: Vec<u8>,
    /// The call of each reading, and its place in the call's batch.
    origins: Vec<(u32, u32)>,
    pub(super) outcome: Outcome,
    /// Alerts by place in this item.
    alerts: Vec<(usize, Alert)>,
}

#[derive(Debug, Clone)]
pub(super) enum Outcome {
    /// Not sent yet.
    Open,
    Stored {
        /// Readings of the sensor before these.
        before: u64,
        evicted: u64,
        /// The alert state in the store.
        state: u8,
    },
    Rejected(RejectReason),
    /// Not acknowledged.
    Failed(Arc<str>),
}

/// The outcome of a call's batch.
#[derive(Debug, Default, Clone)]
pub(in crate::valkey) struct Completed {
    pub(in crate::valkey) report: Report,
    /// The reason why not all of it is known to be stored.
    pub(in crate::valkey) failure: Option<Arc<str>>,
    /// The first reading that is not stored, if a script call failed. It ends the prefix that is reported.
    first_unstored: Option<usize>,
    /// The span of the flush.
    pub(in crate::valkey) flush: Option<SpanContext>,
}

impl Pending {
    pub(super) fn add(&mut self, keys: &Keys, batch: &Batch) -> oneshot::Receiver<Completed> {
        let call = u32::try_from(self.calls.len()).expect("few calls at a time");
        for (place, (id, reading)) in (0..).zip(batch.iter()) {
            let id = id.as_str();
            let at = match self.open.get(id) {
                Some(&at) if self.items[at].origins.len() < MAX_ENTRY => at,
                Some(&at) => self.push_item(keys, id, self.items[at].pass + 1),
                None => self.push_item(keys, id, 0),
            };
            let item = &mut self.items[at];
            pack(&reading, &mut item.packed);
            item.origins.push((call, place));
        }
        self.readings += batch.len();
        let (reply, completed) = oneshot::channel();
        self.calls.push(reply);
        completed
    }

    fn push_item(&mut self, keys: &Keys, id: &str, pass: usize) -> usize {
        let at = self.items.len();
        self.items.push(Item {
            id: id.into(),
            partition: keys.number_of(id),
            pass,
            packed: Vec::new(),
            origins: Vec::new(),
            outcome: Outcome::Open,
            alerts: Vec::new(),
        });
        self.open.insert(id.into(), at);
        at
    }

    /// Returns the error of a part that is not acknowledged.
    pub(super) fn failure(&self) -> Option<&str> {
        self.items.iter().find_map(|item| match &item.outcome {
            Outcome::Failed(text) => Some(&**text),
            _ => None,
        })
    }

    pub(super) fn fail_all(&mut self, why: &str) {
        self.fail(0..self.items.len(), why);
    }

    pub(super) fn fail(&mut self, items: impl Iterator<Item = usize>, why: &str) {
        let why: Arc<str> = why.into();
        for item in items {
            self.items[item].outcome = Outcome::Failed(Arc::clone(&why));
        }
    }

    /// Returns the stored items, for the evaluation of alerts.
    pub(super) fn stored(&self) -> Vec<alerts::Stored<'_>> {
        let stored = |(index, item)| Item::stored(item, index);
        self.items.iter().enumerate().filter_map(stored).collect()
    }

    pub(super) fn set_alerts(&mut self, found: Vec<alerts::Found>) {
        for alerts::Found { item, alerts } in found {
            self.items[item].alerts = alerts;
        }
    }

    /// Sends every call its report. In two steps: the readings reported as stored end at the call's first unstored one.
    pub(super) fn complete(self, flush: Option<SpanContext>) {
        let mut completed = vec![Completed { flush, ..Completed::default() }; self.calls.len()];
        if self.failure().is_some() {
            for item in &self.items {
                item.mark_unstored(&mut completed);
            }
        }
        for item in self.items {
            item.report(&mut completed);
        }
        for (call, mut completed) in self.calls.into_iter().zip(completed) {
            completed.report.rejected.sort_unstable_by_key(|(place, _)| *place);
            completed.report.alerts.sort_unstable_by_key(|(place, _)| *place);
            // The receiver is gone if the call was cancelled.
            let _ = call.send(completed);
        }
    }
}

impl Item {
    pub(super) fn readings(&self) -> impl Iterator<Item = Reading> {
        unpack(&self.packed)
    }

    fn stored(&self, item: usize) -> Option<alerts::Stored<'_>> {
        let Outcome::Stored { before, state, .. } = self.outcome else { return None };
        let Self { id, partition, packed, .. } = self;
        Some(alerts::Stored { item, id, partition: *partition, packed, before, state })
    }

    /// Records, for each call, the first of its readings that this item leaves unstored.
    fn mark_unstored(&self, completed: &mut [Completed]) {
        if matches!(self.outcome, Outcome::Stored { .. }) {
            return;
        }
        for &(call, place) in &self.origins {
            let completed = &mut completed[call as usize];
            let first = completed.first_unstored.map_or(place as usize, |first| first.min(place as usize));
            completed.first_unstored = Some(first);
            if let Outcome::Failed(text) = &self.outcome {
                completed.failure = Some(Arc::clone(text));
            }
        }
    }

    fn report(self, completed: &mut [Completed]) {
        let origins = self.origins.iter().map(|&(call, place)| (call as usize, place as usize));
        match self.outcome {
            Outcome::Stored { evicted, .. } => {
                let evicted = usize::try_from(evicted).unwrap_or(usize::MAX);
                // The last `evicted` readings each evicted an older one. A bound that was lowered evicts more than
                // readings came; the surplus is reported with the first.
                let without = self.origins.len().saturating_sub(evicted);
                for (at, (call, place)) in origins.clone().enumerate() {
                    let Completed { report, failure, first_unstored, .. } = &mut completed[call];
                    let counts = failure.is_none() || first_unstored.is_none_or(|first| place < first);
                    report.stored += usize::from(counts);
                    report.evicted += usize::from(at >= without);
                }
                completed[self.origins[0].0 as usize].report.evicted +=
                    evicted.saturating_sub(self.origins.len());
                for (at, alert) in self.alerts {
                    let (call, place) = self.origins[at];
                    completed[call as usize].report.alerts.push((place as usize, alert));
                }
            }
            Outcome::Rejected(reason) => {
                for (call, place) in origins {
                    completed[call].report.rejected.push((place, reason));
                }
            }
            Outcome::Failed(_) => {}
            Outcome::Open => unreachable!("a flush gives every item an outcome"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn failed_item_limits_the_report_to_the_prefix() {
        let (keys, mut pending) = (Keys::new("test", 4), Pending::default());
        let batch = |ids: &[&str]| {
            let mut batch = Batch::default();
            for id in ids {
                batch.push(id, Reading { temperature: 1.0, timestamp: 1 });
            }
            batch
        };
        let broken = pending.add(&keys, &batch(&["a", "b", "a", "c", "a"]));
        let whole = pending.add(&keys, &batch(&["b", "d", "a"]));
        for item in &mut pending.items {
            item.outcome = match &item.id[..] {
                "c" => Outcome::Failed("gone".into()),
                "d" => Outcome::Rejected(RejectReason::Full),
                _ => Outcome::Stored { before: 0, evicted: 0, state: 0 },
            };
        }
        pending.complete(None);
        let (broken, whole) = (broken.await.unwrap(), whole.await.unwrap());
        assert_eq!((broken.report.stored, broken.failure.as_deref()), (3, Some("gone")));
        assert_eq!((whole.report.stored, whole.failure.as_deref()), (2, None));
        assert_eq!(whole.report.rejected, [(1, RejectReason::Full)]);
    }
}
