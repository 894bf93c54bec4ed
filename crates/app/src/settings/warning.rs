use std::fmt;

/// Something to say about a variable that does not keep a program from running.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// Its whole name.
    pub variable: String,
    /// What to say.
    pub message: String,
}

impl Warning {
    pub(super) fn new(variable: &str, message: impl fmt::Display) -> Self {
        Self { variable: variable.to_owned(), message: message.to_string() }
    }
}
