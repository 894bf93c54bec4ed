//! Settings from `KELVIN_*` environment variables: one declaration gives the struct, the reader, the
//! text of `--help` and the table of docs/configuration.md.

mod error;
mod macros;
mod parse;
mod reader;
mod setting;
mod table;
mod warning;

pub use error::SettingsError;
pub use parse::{Bytes, Parse};
pub use reader::{Field, Reader, upper};
pub use setting::{PREFIX, Setting};
pub use table::{help, markdown};
pub use warning::Warning;

/// A struct made by [`settings!`](crate::settings!).
pub trait Settings: Sized {
    /// All variables, in the order of the fields.
    const SETTINGS: &'static [Setting];

    /// Former names of variables, with their successors.
    const RENAMED: &'static [(&'static str, &'static str)] = &[];

    /// Reads the settings from pairs of whole variable names and values, and returns with them what to warn of.
    fn read<K: Into<String>, V: Into<String>>(
        pairs: impl IntoIterator<Item = (K, V)>,
    ) -> Result<(Self, Vec<Warning>), SettingsError>;

    /// Reads the settings from pairs of whole variable names and values.
    fn from_pairs<K: Into<String>, V: Into<String>>(
        pairs: impl IntoIterator<Item = (K, V)>,
    ) -> Result<Self, SettingsError> {
        Self::read(pairs).map(|(settings, _)| settings)
    }

    /// Reads the settings from the environment of this process. An error also names the files that cannot be read.
    fn from_env() -> Result<Self, SettingsError> {
        Self::from_pairs(environment()).map_err(SettingsError::with_unreadable_files)
    }
}

/// Warns of the variables of this process that are no settings, have been renamed, or have no effect. Logs are set up
/// after the settings are read, so this reads them again.
pub fn log_warnings<S: Settings>() {
    let warnings = S::read(environment()).map(|(_, warnings)| warnings);
    for Warning { variable, message } in warnings.unwrap_or_default() {
        tracing::warn!(%variable, "{variable}: {message}");
    }
}

/// Returns our variables of this process. Values that are not UTF-8 are read lossily rather than refused.
pub fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()))
        .filter(|(name, _)| name.starts_with(PREFIX))
}
