//! Messages that have passed in one direction of a call.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

#[derive(Default)]
pub(crate) struct MessageCounter {
    bytes: AtomicU64,
    /// Messages without an event of their own.
    #[cfg(feature = "trace")]
    pub(crate) unrecorded: AtomicU64,
}

impl MessageCounter {
    /// Returns the bytes of complete messages, without prefixes.
    #[cfg(feature = "metrics")]
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }

    pub(crate) fn set_bytes(&self, bytes: u64) {
        self.bytes.store(bytes, Relaxed);
    }
}
