//! Classifies Valkey's errors by their meaning for the command.

use redis::{RedisError, ServerError, Value};

/// The reason why a command failed.
#[derive(Debug, Clone)]
pub(in crate::valkey) enum Failure {
    /// The node rejected it before it began, and a retry may succeed.
    Rejected {
        /// Where to send it instead, once, after `ASKING`.
        ask: Option<String>,
        /// The scripts must be loaded first.
        load: bool,
        /// Another node may serve the slot now.
        moved: bool,
        text: String,
    },
    /// No node was reached, so nothing was sent.
    NotSent(String),
    /// The node rejected it, and would reject a retry too.
    Denied(String),
    /// The server is too old, lacks what `acknowledge` needs, or holds another number of partitions. Nothing was sent.
    Incompatible(String),
    /// Whether it was executed is unknown.
    Unknown(String),
}

impl Failure {
    pub(super) fn unknown(error: &RedisError) -> Self {
        Self::Unknown(describe(error))
    }

    /// Turns an error answer into a failure.
    pub(in crate::valkey) fn check(value: Value) -> Result<Value, Self> {
        match value {
            Value::ServerError(error) => Err(Self::from(&error)),
            value => Ok(value),
        }
    }

    /// Returns whether the command was certainly not executed and a retry may succeed.
    pub(in crate::valkey) fn may_retry(&self) -> bool {
        matches!(self, Self::Rejected { .. } | Self::NotSent(_))
    }

    pub(in crate::valkey) fn text(&self) -> &str {
        match self {
            Self::Rejected { text, .. }
            | Self::NotSent(text)
            | Self::Denied(text)
            | Self::Incompatible(text)
            | Self::Unknown(text) => text,
        }
    }
}

impl From<&ServerError> for Failure {
    fn from(error: &ServerError) -> Self {
        let details = error.details().unwrap_or_default();
        let text = format!("{} {details}", error.code());
        let rejected = |moved| Self::Rejected { ask: None, load: false, moved, text: text.clone() };
        match error.code() {
            "ASK" => {
                let ask = details.split_whitespace().last().map(str::to_owned);
                Self::Rejected { ask, load: false, moved: false, text }
            }
            "NOSCRIPT" => Self::Rejected { ask: None, load: true, moved: false, text },
            "MOVED" | "READONLY" | "CLUSTERDOWN" | "MASTERDOWN" => rejected(true),
            "TRYAGAIN" | "LOADING" | "NOREPLICAS" | "BUSY" => rejected(false),
            "OOM" | "NOAUTH" | "NOPERM" | "MISCONF" | "WRONGPASS" => Self::Denied(text),
            // An error from within a script leaves what the script wrote before it.
            _ => Self::Unknown(text),
        }
    }
}

pub(super) fn describe(error: &RedisError) -> String {
    if error.is_timeout() { "timed out".to_owned() } else { error.to_string() }
}
