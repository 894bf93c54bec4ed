use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
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
    /// Why it is away, as it was told last.
    told: Mutex<String>,
}

impl Default for Availability {
    fn default() -> Self {
        Self {
            up: AtomicBool::new(true),
            begun: Instant::now(),
            failed: AtomicU64::new(0),
            told: Mutex::default(),
        }
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
                if self.is_up() {
                    let mut told = self.told();
                    if self.up.swap(false, Relaxed) {
                        tracing::error!(%error, "the store is unavailable; calls that need it fail");
                        error.clone_into(&mut told);
                    }
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

    /// What is there cannot be used: that is told too if the store was away before.
    pub(super) fn note_unfit(&self, why: &str) {
        self.note(Some(why));
        let mut told = self.told();
        if *told != why {
            tracing::error!(error = why, "the store is there and cannot be used; calls that need it fail");
            why.clone_into(&mut told);
        }
    }

    fn told(&self) -> MutexGuard<'_, String> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}
