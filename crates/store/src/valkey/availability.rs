use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

use parking_lot::Mutex;

/// A store that failed counts as unavailable until nothing has failed for so long: one of its nodes, or reading, may
/// work while another, or writing, does not, and the log would alternate.
const RECOVERED_AFTER: Duration = Duration::from_secs(2);

/// Whether the store answers. Each change is logged once.
#[derive(Debug)]
pub(super) struct Availability {
    up: AtomicBool,
    opened: Instant,
    /// The time of the last failure, in milliseconds since `opened`.
    failed: AtomicU64,
    /// The error that was logged last.
    last_reported: Mutex<String>,
}

impl Default for Availability {
    fn default() -> Self {
        Self {
            up: AtomicBool::new(true),
            opened: Instant::now(),
            failed: AtomicU64::new(0),
            last_reported: Mutex::default(),
        }
    }
}

impl Availability {
    pub(super) fn is_up(&self) -> bool {
        self.up.load(Relaxed)
    }

    /// Notes that a command succeeded, or why it failed.
    pub(super) fn note(&self, failure: Option<&str>) {
        match failure {
            Some(error) => {
                self.failed.store(self.now(), Relaxed);
                if self.is_up() {
                    let mut last_reported = self.last_reported.lock();
                    if self.up.swap(false, Relaxed) {
                        tracing::error!(%error, "the store is unavailable; calls that need it fail");
                        error.clone_into(&mut last_reported);
                    }
                }
            }
            None if self.is_up() => {}
            None => {
                let since_failure = self.now().saturating_sub(self.failed.load(Relaxed));
                if u128::from(since_failure) >= RECOVERED_AFTER.as_millis() && !self.up.swap(true, Relaxed) {
                    tracing::info!("the store is available again");
                }
            }
        }
    }

    /// Notes that the store is reachable and incompatible, which is logged also if it was unreachable before.
    pub(super) fn note_incompatible(&self, why: &str) {
        self.note(Some(why));
        let mut last_reported = self.last_reported.lock();
        if *last_reported != why {
            tracing::error!(error = why, "the store is reachable but incompatible; calls that need it fail");
            why.clone_into(&mut last_reported);
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}
