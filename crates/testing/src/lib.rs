//! For tests only: what the tests of several crates share.

mod eventually;
mod lines;
pub mod machine;
mod not_run;
mod port;
mod process;
mod unprocessed;
pub mod valkey;

pub use eventually::{eventually, eventually_ok, eventually_some};
pub use lines::Lines;
pub use not_run::{is_installed, may_be_missing, not_run};
pub use port::free_port;
pub use process::{Process, send_signal};
pub use unprocessed::was_never_processed;
pub use valkey::ValkeyServer;
