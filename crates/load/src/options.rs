use std::time::Duration;

use kelvin_proto::CallType;

use crate::{LoadError, Target};

/// The target, the kind of load and its duration.
#[derive(Debug, Clone)]
pub struct Options {
    /// The server.
    pub target: Target,
    /// The types of call; the streams of a connection take turns.
    pub call_types: Vec<CallType>,
    /// Total number of connections.
    pub connections: usize,
    /// Concurrent calls on each connection.
    pub streams: usize,
    /// Threads, among which the connections are distributed.
    pub threads: usize,
    /// Number of sensors that the readings belong to.
    pub sensors: usize,
    /// Readings sent or asked for in one call that streams.
    pub messages: u64,
    /// Unacknowledged readings allowed on each bidirectional stream.
    pub in_flight: u64,
    /// One reading per DATA frame, as grpcio sends them, instead of as many as fit.
    pub one_message_per_frame: bool,
    /// The time before the measurement.
    pub warm_up: Duration,
    /// The length of the measurement.
    pub duration: Duration,
}

impl Options {
    /// Returns the defaults: one connection with 64 concurrent calls, one thread, ten seconds after one second of warm-up.
    #[must_use]
    pub fn new(target: Target, call_types: Vec<CallType>) -> Self {
        Self {
            target,
            call_types,
            connections: 1,
            streams: 64,
            threads: 1,
            sensors: 100,
            messages: 1000,
            in_flight: 1000,
            one_message_per_frame: false,
            warm_up: Duration::from_secs(1),
            duration: Duration::from_secs(10),
        }
    }

    pub(crate) fn check(&self) -> Result<(), LoadError> {
        let positive = [self.connections, self.streams, self.threads, self.sensors, self.call_types.len()];
        if positive.contains(&0) || self.messages == 0 || self.in_flight == 0 || self.duration.is_zero() {
            return Err(LoadError::Options(
                "connections, streams, threads, sensors, messages, readings in flight and duration must not be 0",
            ));
        }
        let Some(calls) = self.connections.checked_mul(self.streams) else {
            return Err(LoadError::Options("too many connections and streams: lower one of them"));
        };
        if calls < self.call_types.len() {
            return Err(LoadError::Options("fewer streams than call types: raise the number of streams"));
        }
        Ok(())
    }
}
