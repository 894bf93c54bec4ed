use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Places that are left under a bound shared by all shards.
#[derive(Debug)]
pub(super) struct Room(AtomicUsize);

impl Room {
    pub(super) fn new(places: usize) -> Self {
        Self(AtomicUsize::new(places))
    }

    /// Takes up to `wanted` places and says how many it got.
    pub(super) fn take(&self, wanted: usize) -> usize {
        let left = self.0.update(Relaxed, Relaxed, |left| left.saturating_sub(wanted));
        left.min(wanted)
    }

    pub(super) fn give(&self, places: usize) {
        if places > 0 {
            self.0.fetch_add(places, Relaxed);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.load(Relaxed) == 0
    }
}
