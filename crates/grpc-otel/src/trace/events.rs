//! Which messages become events.

/// Which messages of a recorded call become events of its span.
///
/// Of each direction the first so many are recorded, and after them only those whose sequence
/// number is a power of two: a stream of any length has at most 64 more events. How many were
/// left out is on the span as `grpc_otel.outbound.unrecorded` and `grpc_otel.inbound.unrecorded`.
/// The SDK keeps 128 events of a span by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageEvents {
    first: u64,
    then_sampled: bool,
}

impl MessageEvents {
    /// Selects the first `count` messages of each direction, then those whose sequence number is a power of two.
    #[must_use]
    pub const fn first(count: u64) -> Self {
        Self { first: count, then_sampled: true }
    }

    /// Selects the first `count` messages of each direction and no more.
    #[must_use]
    pub const fn only_first(count: u64) -> Self {
        Self { first: count, then_sampled: false }
    }

    /// Selects no messages.
    #[must_use]
    pub const fn none() -> Self {
        Self::only_first(0)
    }

    pub(crate) fn includes(self, sequence: u64) -> bool {
        sequence < self.first || (self.then_sampled && sequence.is_power_of_two())
    }

    pub(crate) fn is_none(self) -> bool {
        self == Self::none()
    }
}

impl Default for MessageEvents {
    fn default() -> Self {
        Self::first(16)
    }
}
