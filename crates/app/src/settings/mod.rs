//! Settings from `KELVIN_*` environment variables: one declaration gives the struct, the reader, the
//! text of `--help` and the table of docs/configuration.md.

mod error;
mod macros;
mod parse;
mod reader;
mod table;

pub use error::SettingsError;
pub use parse::{Bytes, Parse};
pub use reader::{Reader, upper};
pub use table::{help, markdown};

/// What the name of every variable starts with.
pub const PREFIX: &str = "KELVIN_";

/// One variable, as it stands in `--help` and in docs/configuration.md.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting {
    /// The whole name, such as `KELVIN_LISTEN`.
    pub variable: &'static str,
    /// The text that is read where the variable is not set; empty means "none".
    pub default: &'static str,
    /// What it means, in the words of the field's doc comment.
    pub doc: &'static str,
}

/// A struct made by [`settings!`](crate::settings!).
pub trait Settings: Sized {
    /// All variables, in the order of the fields.
    const SETTINGS: &'static [Setting];

    /// Former names of variables, with their successors.
    const RENAMED: &'static [(&'static str, &'static str)] = &[];

    /// Reads the settings from pairs of whole variable names and values.
    fn from_pairs<K: Into<String>, V: Into<String>>(
        pairs: impl IntoIterator<Item = (K, V)>,
    ) -> Result<Self, SettingsError>;

    /// Reads the settings from the environment of this process.
    fn from_env() -> Result<Self, SettingsError> {
        Self::from_pairs(environment()).map_err(|mut error| {
            // One of them may be the name, mistyped, of what is missing.
            unknown::<Self>().for_each(|variable| error.push(&variable, "unknown setting, ignored"));
            error
        })
    }
}

/// Warns of variables that look like settings and are none, most likely typing mistakes, and of former names.
pub fn warn_unknown<S: Settings>() {
    for (old, new) in S::RENAMED {
        if std::env::var_os(old).is_some() {
            tracing::warn!(variable = old, "setting renamed; use {new}");
        }
    }
    for variable in unknown::<S>() {
        tracing::warn!(%variable, "unknown setting, ignored; --help lists all settings");
    }
}

fn unknown<S: Settings>() -> impl Iterator<Item = String> {
    let known = |name: &String| {
        S::SETTINGS.iter().any(|setting| setting.variable == name)
            || S::RENAMED.iter().any(|(old, _)| old == name)
    };
    environment().map(|(name, _)| name).filter(move |name| !known(name))
}

/// Our variables of this process. Values that are not UTF-8 are read lossily rather than refused.
fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()))
        .filter(|(name, _)| name.starts_with(PREFIX))
}
