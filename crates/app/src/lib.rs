//! What every binary of Kelvin does: settings, signals, the health port, exit codes.
//!
//! A binary declares its settings with [`settings!`] and leaves the rest of `main` to [`Program`].

mod files;
pub mod health;
pub mod listen;
mod output;
mod pluralize;
mod program;
pub mod settings;
pub mod signal;
mod time;

pub use files::{NamedFile, TlsFiles};
pub use output::{print, report, try_print};
pub use pluralize::pluralize;
pub use program::{BoxError, Command, EXIT_USAGE, Program, error_chain, exit_code};
pub use settings::{Bytes, Parse, Setting, Settings, SettingsError};
pub use time::unix_now;
