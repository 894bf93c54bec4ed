//! Readings on Valkey, shared by any number of processes.

mod settings;

pub use self::settings::{Acknowledge, Credentials, TlsPem, ValkeySettings};
