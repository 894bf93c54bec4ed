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
                _ => self.open_item(keys, id),
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

    fn open_item(&mut self, keys: &Keys, id: &str) -> usize {
        let at = self.items.len();
        self.items.push(Item {
            id: id.into(),
            partition: keys.number_of(id),
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

    fn settle(self, settled: &mut [Settled]) {
        let origins = self.origins.iter().map(|&(job, place)| (job as usize, place as usize));
        match self.outcome {
            Outcome::Stored { evicted, .. } => {
                let evicted = usize::try_from(evicted).unwrap_or(usize::MAX);
                // Those that found no more room each made one go; the first bears what a lowered bound took besides.
                let quiet = self.origins.len().saturating_sub(evicted);
                for (at, (job, _)) in origins.clone().enumerate() {
                    settled[job].report.stored += 1;
                    settled[job].report.evicted += usize::from(at >= quiet);
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
            Outcome::Failed(text) => {
                for (job, _) in origins {
                    settled[job].failure = Some(Arc::clone(&text));
                }
            }
            Outcome::Open => unreachable!("a flush settles every item"),
        }
    }
}
