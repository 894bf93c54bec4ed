use std::hash::{BuildHasher, Hasher};

use hashbrown::DefaultHashBuilder;

/// Enough that a few cores seldom meet, few enough that a frame of some hundred readings takes few locks.
pub(super) const SHARDS: usize = 128;

pub(super) fn hash_of(hasher: &DefaultHashBuilder, sensor_id: &[u8]) -> u64 {
    let mut hasher = hasher.build_hasher();
    hasher.write(sensor_id);
    hasher.finish()
}

/// Returns the index of a sensor's shard, by bits in the middle: hashbrown uses the lowest and the highest.
pub(super) fn shard_of(hash: u64) -> usize {
    usize::try_from(hash >> 32).unwrap_or(0) % SHARDS
}
