//! What is measured, and what is asked of it.

use kelvin_load::{Figures, Options};
use kelvin_proto::CallType;

/// One comparison.
pub(crate) struct Case {
    pub name: &'static str,
    pub kind: CallType,
    pub one_message_a_frame: bool,
    /// Kelvin's figure must be at least so many times the bare service's.
    pub goal: f64,
}

/// All of them.
pub(crate) const CASES: [Case; 5] = [
    Case { name: "unary", kind: CallType::Unary, one_message_a_frame: false, goal: 0.9 },
    Case { name: "client-streaming", kind: CallType::ClientStreaming, one_message_a_frame: false, goal: 1.0 },
    Case {
        name: "client-streaming-1",
        kind: CallType::ClientStreaming,
        one_message_a_frame: true,
        goal: 1.0,
    },
    Case { name: "chat", kind: CallType::BidiStreaming, one_message_a_frame: false, goal: 0.9 },
    Case { name: "get", kind: CallType::ServerStreaming, one_message_a_frame: false, goal: 1.5 },
];

impl Case {
    /// Connections and streams that keep one core busy.
    pub(crate) fn shape(&self, options: &mut Options) {
        options.call_types = vec![self.kind];
        options.one_message_a_frame = self.one_message_a_frame;
        options.sensors = 1000;
        (options.connections, options.streams, options.messages) = match self.kind {
            CallType::Unary => (4, 64, 1),
            CallType::ServerStreaming => (4, 4, READINGS_PER_SENSOR),
            CallType::ClientStreaming | CallType::BidiStreaming => (4, 4, 10_000),
        };
    }

    /// Calls a second of a unary call, readings a second of the others.
    pub(crate) fn rate(&self, figures: &Figures) -> f64 {
        match self.kind {
            CallType::Unary => figures.calls_per_second,
            _ => figures.readings_per_second,
        }
    }
}

/// What both servers keep; a get reads all of it.
pub(crate) const READINGS_PER_SENSOR: u64 = 2000;
