//! Attribute names and values, and names that live as long as the process.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

/// Decides by the name of a method, an instrument or a target.
pub(crate) type Filter = Box<dyn Fn(&str) -> bool + Send + Sync>;

/// Makes attributes of a request's headers and extensions.
pub(crate) type Attributes =
    Box<dyn Fn(&http::HeaderMap, &http::Extensions) -> Vec<opentelemetry::KeyValue> + Send + Sync>;

/// `grpc.method` of a method nobody registered (A66).
pub(crate) const OTHER: &str = "other";
/// `rpc.method` of a method nobody registered (OpenTelemetry's conventions).
pub(crate) const RPC_OTHER: &str = "_OTHER";

pub(crate) const RPC_SYSTEM_NAME: &str = "rpc.system.name";
pub(crate) const RPC_METHOD: &str = "rpc.method";
pub(crate) const ERROR_TYPE: &str = "error.type";
pub(crate) const SERVER_ADDRESS: &str = "server.address";
pub(crate) const SERVER_PORT: &str = "server.port";

/// A version of OpenTelemetry's semantic conventions for RPCs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Semconv {
    /// As released, up to version 1.44: the code is `rpc.response.status_code`.
    #[default]
    Released,
    /// As agreed for the release after: the code is `rpc.status_code`.
    Next,
}

impl Semconv {
    /// Returns the URL of the schema that attributes follow, if one is released.
    pub(crate) fn schema_url(self) -> Option<&'static str> {
        match self {
            Self::Released => Some("https://opentelemetry.io/schemas/1.44.0"),
            Self::Next => None,
        }
    }

    pub(crate) fn status_code(self) -> &'static str {
        match self {
            Self::Released => "rpc.response.status_code",
            Self::Next => "rpc.status_code",
        }
    }
}

/// Returns the name as a string of the whole process, kept once: attributes and span names made of it are then copied
/// without allocation. Only registered methods come here.
pub(crate) fn intern(name: &str) -> &'static str {
    static NAMES: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = names.get(name) {
        return known;
    }
    let kept: &'static str = Box::leak(name.into());
    names.insert(kept);
    kept
}
