//! What a case consists of, and the limits that cases share.

use std::pin::Pin;

use crate::world::{Failure, World};

/// An attack that runs until [`World::until`]. Says what it came to.
pub(crate) type Run = fn(&World) -> Pin<Box<dyn Future<Output = Result<String, Failure>> + '_>>;

/// One case.
#[derive(Clone, Copy)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) settings: &'static [(&'static str, &'static str)],
    /// Growth of resident memory that is allowed, in MiB.
    pub(crate) memory: usize,
    /// The p99 of well-behaved callers may be this many times that of the quiet phase.
    pub(crate) slowdown: u32,
    pub(crate) run: Run,
}

impl Case {
    /// Each connection has a turn before a well-behaved caller has its own, so the bound grows with them.
    pub(super) fn over_connections(self, connections: u32) -> Self {
        Self { slowdown: SLOWDOWN * connections / CONNECTIONS, ..self }
    }
}

pub(crate) const SLOWDOWN: u32 = 10;
/// Attackers' connections for which that is meant.
const CONNECTIONS: u32 = 8;

/// Of a caller without a token, in all.
pub(crate) const UNAUTHENTICATED: usize = 64;
/// Of a caller with one: the budget of the process, and what the allocator and open connections take besides.
pub(crate) const AUTHENTICATED: usize = 192;

/// Declares a case whose function is named like it.
macro_rules! case {
    ($name:ident, $memory:expr, $settings:expr, $about:literal) => {
        Case {
            name: stringify!($name),
            about: $about,
            settings: &$settings,
            memory: $memory,
            slowdown: $crate::attacks::SLOWDOWN,
            run: |world| Box::pin($name(world)),
        }
    };
}
pub(crate) use case;

/// The settings of most cases.
pub(crate) const DEFAULTS: [(&str, &str); 0] = [];
