use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use kelvin_app::unix_now;

/// Seconds between two log lines.
const INTERVAL: i64 = 10;

/// Limits log lines about events that a peer can cause at will.
#[derive(Debug)]
pub(crate) struct LogRateLimiter {
    count: AtomicU64,
    last: AtomicI64,
}

impl LogRateLimiter {
    pub(crate) const fn new() -> Self {
        Self { count: AtomicU64::new(0), last: AtomicI64::new(i64::MIN) }
    }

    /// Counts one event. Returns how many a log line due now covers.
    pub(crate) fn record(&self) -> Option<u64> {
        self.count.fetch_add(1, Ordering::Relaxed);
        let now = unix_now();
        let last = self.last.load(Ordering::Relaxed);
        let due = now.saturating_sub(last) >= INTERVAL
            && self.last.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        due.then(|| self.count.swap(0, Ordering::Relaxed))
    }
}
