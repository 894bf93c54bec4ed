//! Cases with hostile callers.

mod authenticated;
mod case;
mod other;
mod unauthenticated;

pub(crate) use case::{AUTHENTICATED, Case, DEFAULTS, UNAUTHENTICATED, case};

/// Returns all cases with hostile callers.
pub(crate) fn all() -> Vec<Case> {
    [unauthenticated::cases(), authenticated::cases(), other::cases()].concat()
}
