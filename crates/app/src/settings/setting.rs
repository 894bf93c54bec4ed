//! A setting and its name.

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
