//! For tests only: what the tests of several crates share.

mod eventually;
mod port;
pub mod valkey;

pub use eventually::eventually;
pub use port::free_port;
pub use valkey::ValkeyServer;
