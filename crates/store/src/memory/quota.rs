//! The limits that all shards share: atomics, because an append holds the lock of one shard only.
//!
//! A [`Quota`] counts what is left and cannot be exceeded. A [`Reservation`] takes from it for one batch and gives back
//! on drop what it did not use, so at any time what is stored, reserved and left adds up to the limit. [`MemoryUse`]
//! counts what is used, and may be exceeded until the sensor that wrote has evicted.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// The remaining part of a limit that all shards share.
#[derive(Debug)]
pub(super) struct Quota(AtomicUsize);

/// Taken at a time by a [`Reservation`] far from the limit.
const BULK: usize = 256;
/// So far from the limit that reservations of more threads than any machine has do not reach it.
const FAR: usize = 1024 * BULK;

impl Quota {
    pub(super) fn new(limit: usize) -> Self {
        Self(AtomicUsize::new(limit))
    }

    /// Takes up to `wanted` and returns how much it got.
    pub(super) fn take(&self, wanted: usize) -> usize {
        let left = self.0.update(Relaxed, Relaxed, |left| left.saturating_sub(wanted));
        left.min(wanted)
    }

    pub(super) fn release(&self, count: usize) {
        if count > 0 {
            self.0.fetch_add(count, Relaxed);
        }
    }

    pub(super) fn is_exhausted(&self) -> bool {
        self.0.load(Relaxed) == 0
    }
}

/// One batch's part of a quota. Near the limit nothing is taken before it is needed: what a batch holds for sensors
/// that turn out to need nothing would be missing elsewhere, and readings would be refused although there is room.
/// Far from it a few are taken at once, because an atomic operation for each sensor of each batch costs as much as
/// storing a reading.
#[derive(Debug)]
pub(super) struct Reservation<'a> {
    quota: &'a Quota,
    taken: usize,
    bulk: usize,
}

impl<'a> Reservation<'a> {
    pub(super) fn new(quota: &'a Quota) -> Self {
        Self { quota, taken: 0, bulk: BULK }
    }

    /// For a batch that needs little.
    pub(super) fn one_by_one(quota: &'a Quota) -> Self {
        Self { quota, taken: 0, bulk: 0 }
    }

    /// Takes up to `wanted` and returns how much it got.
    pub(super) fn take(&mut self, wanted: usize) -> usize {
        if self.taken < wanted {
            let more = wanted - self.taken;
            let far = self.quota.0.load(Relaxed) > more.saturating_add(FAR);
            self.taken += self.quota.take(if far { more.max(self.bulk) } else { more });
        }
        let got = self.taken.min(wanted);
        self.taken -= got;
        got
    }

    /// Makes sure that the next [`take`](Self::take) gets at least one; false if nothing is left.
    pub(super) fn hold_one(&mut self) -> bool {
        let held = self.take(1);
        self.taken += held;
        held == 1
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        self.quota.release(self.taken);
    }
}

/// Bytes allocated by all shards. Unlike a [`Quota`] it may be exceeded for a moment: what a reading costs is known
/// once it is stored, and the sensor that stored it gives back its oldest block then.
#[derive(Debug)]
pub(super) struct MemoryUse {
    used: AtomicUsize,
    limit: usize,
}

impl MemoryUse {
    pub(super) fn new(limit: usize) -> Self {
        Self { used: AtomicUsize::new(0), limit }
    }

    pub(super) fn replace(&self, before: usize, after: usize) {
        if after > before {
            self.used.fetch_add(after - before, Relaxed);
        } else if after < before {
            self.used.fetch_sub(before - after, Relaxed);
        }
    }

    pub(super) fn is_exceeded(&self) -> bool {
        self.used() > self.limit
    }

    /// Returns whether `bytes` more fit.
    pub(super) fn fits(&self, bytes: usize) -> bool {
        self.used().saturating_add(bytes) <= self.limit
    }

    pub(super) fn used(&self) -> usize {
        self.used.load(Relaxed)
    }

    pub(super) fn limit(&self) -> usize {
        self.limit
    }
}

#[cfg(test)]
mod tests {
    use super::{FAR, Quota, Reservation};

    #[test]
    fn one_held_cannot_be_taken_by_others() {
        let quota = Quota::new(1);
        let (mut one, mut other) = (Reservation::new(&quota), Reservation::one_by_one(&quota));
        assert!(one.hold_one() && one.hold_one());
        assert!(!other.hold_one());
        assert_eq!((other.take(1), one.take(5)), (0, 1));
        assert!(!one.hold_one());
    }

    #[test]
    fn reservation_is_released_unless_taken() {
        for limit in [1, 10, 4 * FAR] {
            let quota = Quota::new(limit);
            let mut reservation = Reservation::new(&quota);
            assert!(
                reservation.hold_one() && reservation.take(1) == 1 && reservation.hold_one() == (limit > 1)
            );
            drop(reservation);
            assert_eq!(quota.take(limit), limit - 1);
        }
    }
}
