//! Parts of answers.

use redis::Value;

pub(super) fn text(value: &Value) -> Option<&str> {
    match value {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok(),
        Value::SimpleString(text) => Some(text),
        _ => None,
    }
}

/// The text that `INFO` answers.
pub(super) fn info(answer: &Value) -> &str {
    match answer {
        Value::VerbatimString { text, .. } => text,
        value => text(value).unwrap_or_default(),
    }
}

/// A field of that text.
pub(super) fn info_field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}
