//! The loads, and what Kelvin has to reach against its peers under each.

use std::fmt;

use kelvin_bench::tuned::READINGS_PER_SENSOR;
use kelvin_load::Options;
use kelvin_proto::CallType;
use serde::Serialize;

use crate::peer::Peer;

/// What a peer's CPU per operation divided by Kelvin's has to be.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Bound {
    AtLeast(f64),
    AtMost(f64),
}
use Bound::{AtLeast, AtMost};

impl Bound {
    pub(crate) fn holds(self, ratio: f64) -> bool {
        match self {
            AtLeast(bound) => ratio >= bound,
            AtMost(bound) => ratio <= bound,
        }
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AtLeast(bound) => write!(f, "≥ {bound:.2}"),
            AtMost(bound) => write!(f, "≤ {bound:.2}"),
        }
    }
}

/// One load.
pub(crate) struct Case {
    pub name: &'static str,
    pub call_type: CallType,
    pub one_message_per_frame: bool,
    pub goals: &'static [(Peer, Bound)],
}

/// All loads, in the order of the report.
pub(crate) const CASES: [Case; 6] = [
    Case {
        name: "unary",
        call_type: CallType::Unary,
        one_message_per_frame: false,
        goals: &[(Peer::Tonic, AtLeast(1.1)), (Peer::H2, AtLeast(0.75)), (Peer::TwoWorkers, AtMost(1.1))],
    },
    Case {
        name: "client-streaming",
        call_type: CallType::ClientStreaming,
        one_message_per_frame: false,
        goals: &[(Peer::Tonic, AtLeast(1.3))],
    },
    Case {
        name: "client-streaming-1",
        call_type: CallType::ClientStreaming,
        one_message_per_frame: true,
        goals: &[(Peer::Tonic, AtLeast(1.05))],
    },
    Case {
        name: "chat",
        call_type: CallType::BidiStreaming,
        one_message_per_frame: false,
        goals: &[(Peer::Tonic, AtLeast(1.6))],
    },
    Case {
        name: "chat-1",
        call_type: CallType::BidiStreaming,
        one_message_per_frame: true,
        goals: &[(Peer::Tonic, AtLeast(1.15))],
    },
    Case {
        name: "get",
        call_type: CallType::ServerStreaming,
        one_message_per_frame: false,
        goals: &[(Peer::Tonic, AtLeast(1.5))],
    },
];

impl Case {
    /// Sets connections and streams that keep one core of a server busy.
    pub(crate) fn shape(&self, options: &mut Options) {
        options.call_types = vec![self.call_type];
        options.one_message_per_frame = self.one_message_per_frame;
        options.sensors = 1000;
        (options.connections, options.streams, options.messages) = match self.call_type {
            CallType::Unary => (4, 64, 1),
            CallType::ServerStreaming => (4, 4, READINGS_PER_SENSOR),
            CallType::ClientStreaming | CallType::BidiStreaming => (4, 4, 10_000),
        };
    }

    /// Returns whether the peer is measured under this load.
    pub(crate) fn is_for(&self, peer: Peer) -> bool {
        self.call_type == CallType::Unary || !matches!(peer, Peer::H2 | Peer::TwoWorkers)
    }

    /// Returns what an operation is: a call for unary, a reading for streams.
    pub(crate) fn operations(&self, calls: u64, readings: u64) -> u64 {
        if self.call_type == CallType::Unary { calls } else { readings }
    }
}
