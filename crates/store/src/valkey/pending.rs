use std::sync::Arc;

use compact_str::CompactString;
use hashbrown::HashMap;
use opentelemetry::trace::SpanContext;
use tokio::sync::oneshot;

use super::{
    keys::Keys,
    record::{READING, pack, unpack},
};
use crate::{Alert, Batch, Reading, Refusal, Report};

/// Readings in one stream entry at most, so that what reads them back gets chunks of a bounded size.
const ENTRY: usize = 1024;

/// What several calls want stored, by sensor.
#[derive(Debug, Default)]
pub(super) struct Pending {
    pub(super) items: Vec<Item>,
    /// The item a sensor's next reading goes into.
    open: HashMap<CompactString, usize>,
    jobs: Vec<Job>,
    pub(super) readings: usize,
    /// The first sampled call.
    pub(super) sampled: Option<SpanContext>,
}

/// Readings of one sensor.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) id: CompactString,
    pub(super) partition: usize,
    /// How many items of the same sensor are before this one.
    pub(super) round: usize,
    pub(super) packed: Vec<u8>,
    /// The call and the place in its batch of each reading.
    origins: Vec<(u32, u32)>,
    pub(super) outcome: Outcome,
    /// Alerts by place in this item.
    pub(super) alerts: Vec<(usize, Alert)>,
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
    Refused(Refusal),
    /// Not acknowledged.
    Failed(Arc<str>),
}

/// What came of a call's batch.
#[derive(Debug, Default, Clone)]
pub(super) struct Settled {
    pub(super) report: Report,
    /// Why not all of it is known to be stored.
    pub(super) failure: Option<Arc<str>>,
    /// The first reading that is not stored. After a failure only those before it are counted, because their number
    /// has to say which they are.
    gap: Option<usize>,
    /// The span of the flush.
    pub(super) flush: Option<SpanContext>,
}

#[derive(Debug)]
struct Job {
    reply: oneshot::Sender<Settled>,
}

impl Pending {
    pub(super) fn add(&mut self, keys: &Keys, batch: &Batch) -> oneshot::Receiver<Settled> {
        let job = u32::try_from(self.jobs.len()).expect("few calls at a time");
        for (place, (id, reading)) in (0..).zip(batch.iter()) {
            let at = match self.open.get(id) {
                Some(&at) if self.items[at].origins.len() < ENTRY => at,
                Some(&at) => self.open_item(keys, id, self.items[at].round + 1),
                None => self.open_item(keys, id, 0),
            };
            let item = &mut self.items[at];
            pack(&reading, &mut item.packed);
            item.origins.push((job, place));
        }
        self.readings += batch.len();
        let (reply, settled) = oneshot::channel();
        self.jobs.push(Job { reply });
        settled
    }

    fn open_item(&mut self, keys: &Keys, id: &str, round: usize) -> usize {
        let at = self.items.len();
        self.items.push(Item {
            id: id.into(),
            partition: keys.number_of(id),
            round,
            packed: Vec::new(),
            origins: Vec::new(),
            outcome: Outcome::Open,
            alerts: Vec::new(),
        });
        self.open.insert(id.into(), at);
        at
    }

    /// Why some of it is not acknowledged.
    pub(super) fn failure(&self) -> Option<&str> {
        self.items.iter().find_map(|item| match &item.outcome {
            Outcome::Failed(text) => Some(&**text),
            _ => None,
        })
    }

    /// Tells every call what came of its readings.
    pub(super) fn settle(self, flush: Option<SpanContext>) {
        let mut settled = vec![Settled { flush, ..Settled::default() }; self.jobs.len()];
        if self.failure().is_some() {
            for item in &self.items {
                item.fail(&mut settled);
            }
        }
        for item in self.items {
            item.settle(&mut settled);
        }
        for (job, mut settled) in self.jobs.into_iter().zip(settled) {
            settled.report.refused.sort_unstable_by_key(|(place, _)| *place);
            settled.report.alerts.sort_unstable_by_key(|(place, _)| *place);
            // A call that has gone does not want to know.
            let _ = job.reply.send(settled);
        }
    }
}

impl Item {
    pub(super) fn len(&self) -> usize {
        self.packed.len() / READING
    }

    pub(super) fn readings(&self) -> impl Iterator<Item = Reading> {
        unpack(&self.packed)
    }

    /// Notes with the calls whose readings these are that they are not stored.
    fn fail(&self, settled: &mut [Settled]) {
        if matches!(self.outcome, Outcome::Stored { .. }) {
            return;
        }
        for &(job, place) in &self.origins {
            let settled = &mut settled[job as usize];
            settled.gap = Some(settled.gap.map_or(place as usize, |gap| gap.min(place as usize)));
            if let Outcome::Failed(text) = &self.outcome {
                settled.failure = Some(Arc::clone(text));
            }
        }
    }

    fn settle(self, settled: &mut [Settled]) {
        let origins = self.origins.iter().map(|&(job, place)| (job as usize, place as usize));
        match self.outcome {
            Outcome::Stored { evicted, .. } => {
                let evicted = usize::try_from(evicted).unwrap_or(usize::MAX);
                // Those that found no more room each made one go; the first bears what a lowered bound took besides.
                let quiet = self.origins.len().saturating_sub(evicted);
                for (at, (job, place)) in origins.clone().enumerate() {
                    let Settled { report, failure, gap, .. } = &mut settled[job];
                    let counts = failure.is_none() || gap.is_none_or(|gap| place < gap);
                    report.stored += usize::from(counts);
                    report.evicted += usize::from(at >= quiet);
                }
                settled[self.origins[0].0 as usize].report.evicted +=
                    evicted.saturating_sub(self.origins.len());
                for (at, alert) in self.alerts {
                    let (job, place) = self.origins[at];
                    settled[job as usize].report.alerts.push((place as usize, alert));
                }
            }
            Outcome::Refused(refusal) => {
                for (job, place) in origins {
                    settled[job].report.refused.push((place, refusal));
                }
            }
            Outcome::Failed(_) => {}
            Outcome::Open => unreachable!("a flush settles every item"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn after_a_failure_only_what_lies_before_it_is_counted() {
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
                "d" => Outcome::Refused(Refusal::Full),
                _ => Outcome::Stored { before: 0, evicted: 0, state: 0 },
            };
        }
        pending.settle(None);
        let (broken, whole) = (broken.await.unwrap(), whole.await.unwrap());
        assert_eq!((broken.report.stored, broken.failure.as_deref()), (3, Some("gone")));
        assert_eq!((whole.report.stored, whole.failure.as_deref()), (2, None));
        assert_eq!(whole.report.refused, [(1, Refusal::Full)]);
    }
}
