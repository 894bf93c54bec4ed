//! What is compared.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{metrics::Series, spans::Span};

/// What one of the two has measured of all calls, as `go/main.go` prints it.
#[derive(Debug, Deserialize)]
pub(crate) struct Telemetry {
    pub(crate) server: Vec<Series>,
    pub(crate) client: Vec<Series>,
    pub(crate) spans: Vec<Span>,
    /// The peers of calls and attempts, by the names of their spans.
    pub(crate) peers: BTreeMap<String, String>,
}
