use std::{
    collections::HashSet,
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::time::Instant;

/// What was acknowledged, and how it went.
#[derive(Debug)]
pub(crate) struct Notes {
    /// How long a call may take to be answered.
    pub(crate) deadline: Duration,
    sent: Mutex<Vec<Sent>>,
    stored: Mutex<Vec<Sent>>,
    late: AtomicU64,
    done: AtomicBool,
}

/// A reading: which caller sent it, and its number there.
pub(crate) type Id = (u64, u64);

/// A reading that was sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sent {
    pub(crate) id: Id,
    pub(crate) at: Instant,
}

impl Notes {
    pub(crate) fn new(deadline: Duration) -> Self {
        Self {
            deadline,
            sent: Mutex::default(),
            stored: Mutex::default(),
            late: AtomicU64::new(0),
            done: AtomicBool::new(false),
        }
    }

    /// This is sent.
    pub(crate) fn sent(&self, reading: Sent) {
        lock(&self.sent).push(reading);
    }

    /// These were acknowledged.
    pub(crate) fn stored(&self, readings: &[Sent]) {
        lock(&self.stored).extend(readings);
    }

    /// A call was not answered in time.
    pub(crate) fn late(&self) {
        self.late.fetch_add(1, Relaxed);
    }

    pub(crate) fn count_late(&self) -> u64 {
        self.late.load(Relaxed)
    }

    pub(crate) fn count_stored(&self) -> usize {
        lock(&self.stored).len()
    }

    pub(crate) fn all_stored(&self) -> HashSet<Id> {
        lock(&self.stored).iter().map(|sent| sent.id).collect()
    }

    /// Readings a second that were sent in the `time` from `start` and are acknowledged by now.
    pub(crate) fn rate(&self, start: Instant, time: Duration) -> f64 {
        rate(&lock(&self.stored), start, time)
    }

    /// Readings a second that were sent in the `time` from `start`.
    pub(crate) fn rate_sent(&self, start: Instant, time: Duration) -> f64 {
        rate(&lock(&self.sent), start, time)
    }

    /// No more is to be sent.
    pub(crate) fn end(&self) {
        self.done.store(true, Relaxed);
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.done.load(Relaxed)
    }
}

fn lock(readings: &Mutex<Vec<Sent>>) -> MutexGuard<'_, Vec<Sent>> {
    readings.lock().expect("no caller panics")
}

fn rate(readings: &[Sent], start: Instant, time: Duration) -> f64 {
    let within = |at: Instant| at >= start && at < start + time;
    readings.iter().filter(|sent| within(sent.at)).count() as f64 / time.as_secs_f64()
}
