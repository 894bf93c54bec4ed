//! The loads, and what Kelvin has to reach against its peers under each.

use kelvin_bench::tuned::READINGS_PER_SENSOR;
use kelvin_load::Options;
use kelvin_proto::CallType;

use crate::peer::Peer;

/// One load.
pub(crate) struct Case {
    pub name: &'static str,
    pub call_type: CallType,
    pub one_message_a_frame: bool,
    /// What a peer's CPU per operation divided by Kelvin's must reach.
    pub goals: &'static [(Peer, f64)],
}

/// All loads, in the order of the report.
pub(crate) const CASES: [Case; 6] = [
    Case {
        name: "unary",
        call_type: CallType::Unary,
        one_message_a_frame: false,
        goals: &[(Peer::Tonic, 1.1), (Peer::H2, 0.75)],
    },
    Case {
        name: "client-streaming",
        call_type: CallType::ClientStreaming,
        one_message_a_frame: false,
        goals: &[(Peer::Tonic, 1.3)],
    },
    Case {
        name: "client-streaming-1",
        call_type: CallType::ClientStreaming,
        one_message_a_frame: true,
        goals: &[(Peer::Tonic, 1.05)],
    },
    Case {
        name: "chat",
        call_type: CallType::BidiStreaming,
        one_message_a_frame: false,
        goals: &[(Peer::Tonic, 1.6)],
    },
    Case {
        name: "chat-1",
        call_type: CallType::BidiStreaming,
        one_message_a_frame: true,
        goals: &[(Peer::Tonic, 1.15)],
    },
    Case {
        name: "get",
        call_type: CallType::ServerStreaming,
        one_message_a_frame: false,
        goals: &[(Peer::Tonic, 1.5)],
    },
];

impl Case {
    /// Sets connections and streams that keep one core of a server busy.
    pub(crate) fn shape(&self, options: &mut Options) {
        options.call_types = vec![self.call_type];
        options.one_message_a_frame = self.one_message_a_frame;
        options.sensors = 1000;
        (options.connections, options.streams, options.messages) = match self.call_type {
            CallType::Unary => (4, 64, 1),
            CallType::ServerStreaming => (4, 4, READINGS_PER_SENSOR),
            CallType::ClientStreaming | CallType::BidiStreaming => (4, 4, 10_000),
        };
    }

    /// Returns what an operation is: a call for unary, a reading for streams.
    pub(crate) fn operations(&self, calls: u64, readings: u64) -> u64 {
        if self.call_type == CallType::Unary { calls } else { readings }
    }
}
