//! For tests only: what the tests of several crates share.

mod eventually;
pub mod machine;
mod not_run;
mod port;
mod process;
mod unprocessed;
pub mod valkey;

pub use eventually::{eventually, eventually_some};
pub use not_run::{may_be_missing, not_run};
pub use port::free_port;
pub use process::{Process, send_signal};
pub use unprocessed::was_never_processed;
pub use valkey::ValkeyServer;
