//! Readings in the memory of this process: sensors hashed over shards, one lock each, taken once per shard and batch.

mod block;
mod codec;
mod hash;
mod history;
mod list;
mod metrics;
mod quota;
mod reader;
mod sensor;
mod shard;
mod sharded_batch;
mod store;
mod timer;

use std::sync::Arc;

use opentelemetry::metrics::Meter;

use self::timer::Timer;
pub(crate) use self::{reader::MemoryReader, store::Memory};
use crate::{AlertSettings, Limits};

/// Creates an empty store whose metrics `meter` records.
pub(crate) fn open(limits: Limits, alerts: &AlertSettings, meter: &Meter) -> Arc<Memory> {
    let memory = Arc::new(Memory::new(limits, alerts, Timer::new(meter)));
    metrics::observe(&memory, meter);
    memory
}
