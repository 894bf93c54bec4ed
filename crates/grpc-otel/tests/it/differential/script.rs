//! The calls of `script.json`.

use serde::Deserialize;

/// One call, and how it is to go.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Call {
    pub(crate) scenario: String,
    pub(crate) kind: String,
    /// Sizes of the messages, in bytes.
    pub(crate) requests: Vec<usize>,
    pub(crate) replies: Vec<usize>,
    pub(crate) status: i32,
    /// After the replies the server goes silent.
    pub(crate) wait: bool,
    pub(crate) gzip: bool,
    pub(crate) timeout_ms: Option<u64>,
    /// The caller gives up after so many replies.
    pub(crate) cancel_after: Option<usize>,
    /// So many attempts are scripted to come back later.
    pub(crate) fail_first: u32,
}
