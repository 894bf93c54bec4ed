use redis::{RedisError, ServerError, Value};

/// Why a command did not do what it should.
#[derive(Debug, Clone)]
pub(super) enum Failure {
    /// The server refused it before it began, and another try may fare better.
    Refused {
        /// Where to ask instead, once, with `ASKING`.
        ask: Option<String>,
        /// The scripts must be loaded first.
        load: bool,
        /// Another node may be in charge now.
        moved: bool,
        text: String,
    },
    /// No node was reached, so nothing was sent.
    NotSent(String),
    /// It was refused for good, for now.
    Denied(String),
    /// What is there cannot be used: it would not keep what is promised, or keeps readings elsewhere. Nothing was sent.
    Unfit(String),
    /// Whether it was done is unknown.
    Unknown(String),
}

impl Failure {
    pub(super) fn unknown(error: &RedisError) -> Self {
        Self::Unknown(describe(error))
    }

    /// Takes an error answer apart; all other answers come back.
    pub(super) fn check(value: Value) -> Result<Value, Self> {
        match value {
            Value::ServerError(error) => Err(Self::from(&error)),
            value => Ok(value),
        }
    }

    /// Whether it may be sent again: it was certainly not done.
    pub(super) fn may_repeat(&self) -> bool {
        matches!(self, Self::Refused { .. } | Self::NotSent(_))
    }

    pub(super) fn text(&self) -> &str {
        match self {
            Self::Refused { text, .. }
            | Self::NotSent(text)
            | Self::Denied(text)
            | Self::Unfit(text)
            | Self::Unknown(text) => text,
        }
    }
}

impl From<&ServerError> for Failure {
    fn from(error: &ServerError) -> Self {
        let details = error.details().unwrap_or_default();
        let text = format!("{} {details}", error.code());
        let refused = |moved| Self::Refused { ask: None, load: false, moved, text: text.clone() };
        match error.code() {
            "ASK" => {
                let ask = details.split_whitespace().last().map(str::to_owned);
                Self::Refused { ask, load: false, moved: false, text }
            }
            "NOSCRIPT" => Self::Refused { ask: None, load: true, moved: false, text },
            "MOVED" | "READONLY" | "CLUSTERDOWN" | "MASTERDOWN" => refused(true),
            "TRYAGAIN" | "LOADING" | "NOREPLICAS" | "BUSY" => refused(false),
            "OOM" | "NOAUTH" | "NOPERM" | "MISCONF" | "WRONGPASS" => Self::Denied(text),
            // A script may have come half way.
            _ => Self::Unknown(text),
        }
    }
}

pub(super) fn describe(error: &RedisError) -> String {
    if error.is_timeout() { "no answer in time".to_owned() } else { error.to_string() }
}
