use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

/// A store that failed counts as away until nothing has failed for so long: of its nodes, or of reading and writing,
/// one may work while another does not.
const QUIET: Duration = Duration::from_secs(2);

/// Whether the store answers. Each change is logged once.
#[derive(Debug)]
pub(super) struct Availability {
    up: AtomicBool,
    begun: Instant,
    /// When something failed last, in milliseconds since then.
    failed: AtomicU64,
}

impl Default for Availability {
    fn default() -> Self {
        Self { up: AtomicBool::new(true), begun: Instant::now(), failed: AtomicU64::new(0) }
    }
}

impl Availability {
    pub(super) fn is_up(&self) -> bool {
        self.up.load(Relaxed)
    }

    /// Something was asked of the store, and this is why it failed, if it did.
    pub(super) fn note(&self, failure: Option<&str>) {
        match failure {
            Some(error) => {
                self.failed.store(self.now(), Relaxed);
                if self.up.swap(false, Relaxed) {
                    tracing::error!(%error, "the store is unavailable; calls that need it fail");
                }
            }
            None if self.is_up() => {}
            None => {
                let quiet = self.now().saturating_sub(self.failed.load(Relaxed));
                if u128::from(quiet) >= QUIET.as_millis() && !self.up.swap(true, Relaxed) {
                    tracing::info!("the store is available again");
                }
            }
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}
