//! What every binary of Kelvin does: settings, signals, the health port, exit codes.
//!
//! A binary declares its settings with [`settings!`] and leaves the rest of `main` to [`Program`].

#![deny(clippy::print_stdout, clippy::print_stderr)] // they panic on closed pipes and full disks

extern crate self as kelvin_app; // the name that `settings!` expands to

mod address;
mod files;
pub mod health;
pub mod listen;
mod open_files;
mod output;
mod pluralize;
mod program;
pub mod settings;
pub mod signal;
mod time;

pub use address::host_and_port;
pub use files::{NamedFile, TlsFiles};
pub use open_files::raise_open_file_limit;
pub use output::{print, report, try_print};
pub use pluralize::pluralize;
pub use program::{
    BoxError, Command, EXIT_USAGE, Program, UsageError, disable_huge_pages, error_chain, exit_code,
};
#[doc(hidden)]
pub use serde; // for `settings!`
pub use settings::{Bytes, Parse, Setting, Settings, SettingsError};
pub use time::{unix_now, unix_time};
