//! All that is wrong with the settings, in one message.

use std::{
    fmt,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

/// Every wrong variable with a line of its own. Programs end with
/// [`EXIT_USAGE`](crate::EXIT_USAGE) on it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SettingsError {
    problems: Vec<(String, String)>,
    files: Vec<(String, PathBuf)>,
}

impl SettingsError {
    /// Notes that `variable` (its whole name) is wrong, and why. The first word on a variable stands: a
    /// value that could not be read needs no second complaint.
    pub fn push(&mut self, variable: &str, message: impl fmt::Display) {
        if !self.names(variable) {
            self.problems.push((variable.to_owned(), message.to_string()));
        }
    }

    /// Notes all that another error notes.
    pub fn append(&mut self, other: Self) {
        for (variable, message) in other.problems {
            self.push(&variable, message);
        }
    }

    /// Returns whether something is wrong with `variable`.
    #[must_use]
    pub fn names(&self, variable: &str) -> bool {
        self.problems.iter().any(|(name, _)| name == variable)
    }

    /// Returns whether nothing is wrong.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.problems.is_empty()
    }

    /// Notes the file that the valid value of `variable` names, for [`with_unreadable_files`](Self::with_unreadable_files).
    pub fn note_file(&mut self, variable: &str, path: &Path) {
        self.files.push((variable.to_owned(), path.to_owned()));
    }

    /// Adds the files noted that cannot be read. The program would report them only once the values are corrected.
    #[must_use]
    pub fn with_unreadable_files(mut self) -> Self {
        for (variable, path) in std::mem::take(&mut self.files) {
            if let Err(cause) = try_open(&path) {
                self.push(&variable, format_args!("{}: cannot be read: {cause}", path.display()));
            }
        }
        self
    }

    pub(super) fn push_value(&mut self, variable: &str, value: &str, expected: &str) {
        if value.trim().is_empty() {
            self.push(variable, "must not be empty");
        } else if value.contains('@') {
            // What stands before it may be a password.
            self.push(variable, format_args!("invalid value: expected {expected}"));
        } else {
            self.push(variable, format_args!("invalid value {value:?}: expected {expected}"));
        }
    }
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("invalid configuration (see --help)")?;
        self.problems.iter().try_for_each(|(variable, message)| write!(f, "\n  {variable}: {message}"))
    }
}

impl std::error::Error for SettingsError {}

/// Opens a regular file. A pipe would block until it has a writer, and its content is read only once.
fn try_open(path: &Path) -> io::Result<()> {
    if fs::metadata(path)?.is_file() { File::open(path).map(drop) } else { Ok(()) }
}
