//! The limit on open files.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the soft limit on open files to the hard one, as Go's runtime does, and returns what it is now; nothing where
/// there is none.
///
/// The soft limit is 1024 in many shells, for the sake of programs that use `select`, and a server with more connections
/// could not accept them.
#[must_use]
pub fn raise_open_file_limit() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, ..limit };
    if setrlimit(Resource::Nofile, raised).is_ok() { raised.current } else { limit.current }
}
