//! The definition of a case, and the limits that cases share.

use std::pin::Pin;

use crate::test_server::{Failure, TestServer};

/// A function that runs a case until [`TestServer::deadline`] and returns a summary.
pub(crate) type Run = fn(&TestServer) -> Pin<Box<dyn Future<Output = Result<String, Failure>> + '_>>;

/// An attack, or a pattern of well-behaved calls, with the limits that the server has to meet.
#[derive(Clone, Copy)]
pub(crate) struct Case {
    /// Name for `--case`.
    pub(crate) name: &'static str,
    /// Description for `--list`.
    pub(crate) about: &'static str,
    /// Environment variables of the server.
    pub(crate) settings: &'static [(&'static str, &'static str)],
    /// Maximum growth of resident memory in MiB.
    pub(crate) memory: usize,
    pub(crate) run: Run,
}

/// Maximum memory growth in MiB that all callers without a token cause together.
pub(crate) const UNAUTHENTICATED: usize = 64;
/// Maximum memory growth in MiB that callers with a token cause.
///
/// This is the memory budget of the process, plus allocator overhead and open connections.
pub(crate) const AUTHENTICATED: usize = 192;

/// Declares a case with the name of its function.
macro_rules! case {
    ($name:ident, $memory:expr, $settings:expr, $about:literal) => {
        Case {
            name: stringify!($name),
            about: $about,
            settings: &$settings,
            memory: $memory,
            run: |server| Box::pin($name(server)),
        }
    };
}
pub(crate) use case;

/// The settings of most cases.
pub(crate) const DEFAULTS: [(&str, &str); 0] = [];
