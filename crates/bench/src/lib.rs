//! What the benchmarks share.

pub mod files;
pub mod goals;
pub mod tuned;
