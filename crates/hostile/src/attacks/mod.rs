//! What hostile callers do, one case per kind.

mod authenticated;
mod case;
mod other;
mod unauthenticated;

pub(crate) use case::{AUTHENTICATED, Case, DEFAULTS, SLOWDOWN, UNAUTHENTICATED, case};

pub(crate) fn all() -> Vec<Case> {
    [unauthenticated::cases(), authenticated::cases(), other::cases()].concat()
}
