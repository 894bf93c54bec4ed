//! From the batches of calls to their reports: [`coalescer`] gathers what calls bring ([`pending`]), [`flush`] sends it,
//! [`append`] is the script call and its reply, [`durability`] the wait for replicas or disk.

mod append;
mod coalescer;
mod durability;
mod flush;
mod pending;

pub(super) use self::{append::count_partition, coalescer::WriteCoalescer};
