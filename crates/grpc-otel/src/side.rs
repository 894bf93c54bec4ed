//! The ends of an RPC and the directions between them.

/// Which end of an RPC is observed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// A server's call.
    Server,
    /// A client's call as the application sees it.
    Call,
    /// One attempt of a client at a call.
    Attempt,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    Request,
    Response,
}

impl Side {
    /// Returns whether this side sends what passes in that direction.
    #[cfg(feature = "trace")]
    pub(crate) fn sends(self, direction: Direction) -> bool {
        (self == Side::Server) == (direction == Direction::Response)
    }
}
