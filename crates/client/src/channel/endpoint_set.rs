//! The state of the server's endpoints, as a pure state machine: [`EndpointSet::step`] maps a state and an event to the
//! next state and its effects. There is no clock, no task and no lock in here.
//!
//! The states of an endpoint are those of
//! [gRPC connectivity](https://github.com/grpc/grpc/blob/master/doc/connectivity-semantics-and-api.md), and `Draining`: the
//! server still answers, but its health service says that it is about to stop.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::SocketAddr,
};

/// A connection that calls can be sent on.
pub(super) trait Connection: Clone {
    fn is_open(&self) -> bool;
}

#[derive(Debug, Clone)]
pub(super) struct EndpointSet<C> {
    endpoints: BTreeMap<SocketAddr, State<C>>,
    /// The error of the last look-up of the name.
    resolve_error: Option<String>,
    /// A server that may have open calls is draining or was removed, and no other one was ready to take them over.
    ///
    /// It outlives the endpoint: the name often loses a server's address before its successor is connected.
    handover_due: bool,
}

#[derive(Debug, Clone)]
enum State<C> {
    Connecting,
    Ready(C),
    Draining(C),
    /// Receives no call until it is connected again.
    TransientFailure(String),
}

#[derive(Debug)]
pub(super) enum Event<C> {
    /// The name has exactly these addresses.
    Resolved(BTreeSet<SocketAddr>),
    /// The look-up failed. The endpoints stay as they are, because old addresses are better than none.
    ResolveFailed(String),
    /// From now on calls go over this connection; an earlier one ends with the calls that are on it.
    Connected(SocketAddr, C),
    /// The health service of the server reports whether it serves.
    Health(SocketAddr, bool),
    /// A connection that had worked ended, and is opened again.
    Disconnected(SocketAddr),
    /// No connection could be opened, or it ended at once.
    Failed(SocketAddr, String),
}

/// The effects of an event.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Effects {
    pub(super) connect: Vec<SocketAddr>,
    pub(super) disconnect: Vec<SocketAddr>,
    /// The name may have other addresses by now.
    pub(super) resolve: bool,
    /// Long-lived calls should be opened again: they may be on a server that is draining or was removed.
    pub(super) hand_over: bool,
}

impl<C> Default for EndpointSet<C> {
    fn default() -> Self {
        Self { endpoints: BTreeMap::new(), resolve_error: None, handover_due: false }
    }
}

impl<C: Connection> EndpointSet<C> {
    /// The transition function.
    pub(super) fn step(mut self, event: Event<C>) -> (Self, Effects) {
        let mut effects = Effects::default();
        match event {
            Event::Resolved(addresses) => self.resolved(addresses, &mut effects),
            Event::ResolveFailed(error) => self.resolve_error = Some(error),
            Event::Connected(address, connection) => self.set(address, State::Ready(connection)),
            Event::Health(address, true) => self.serving(address),
            Event::Health(address, false) => {
                self.draining(address);
                effects.resolve = true;
            }
            Event::Disconnected(address) => {
                self.set(address, State::Connecting);
                effects.resolve = true;
            }
            Event::Failed(address, error) => {
                // While certificates rotate, an earlier connection may still work.
                if self.endpoints.get(&address).is_some_and(|state| state.open().is_none()) {
                    self.set(address, State::TransientFailure(error));
                }
                effects.resolve = true;
            }
        }
        if self.ready().next().is_some() {
            effects.hand_over = std::mem::take(&mut self.handover_due);
        } else {
            // New calls may also go to a draining server.
            self.handover_due |= self.any_draining();
        }
        (self, effects)
    }

    fn resolved(&mut self, addresses: BTreeSet<SocketAddr>, effects: &mut Effects) {
        self.resolve_error = None;
        effects.disconnect =
            self.endpoints.keys().filter(|known| !addresses.contains(known)).copied().collect();
        for address in &effects.disconnect {
            // The calls of a draining endpoint are already due, or were handed over.
            self.handover_due |= matches!(self.endpoints.remove(address), Some(State::Ready(connection)) if connection.is_open());
        }
        effects.connect =
            addresses.into_iter().filter(|address| !self.endpoints.contains_key(address)).collect();
        self.endpoints.extend(effects.connect.iter().map(|address| (*address, State::Connecting)));
    }

    fn serving(&mut self, address: SocketAddr) {
        if let Some(State::Draining(connection)) = self.endpoints.get(&address) {
            let connection = connection.clone();
            self.set(address, State::Ready(connection));
        }
    }

    fn draining(&mut self, address: SocketAddr) {
        if let Some(State::Ready(connection)) = self.endpoints.get(&address) {
            let connection = connection.clone();
            self.set(address, State::Draining(connection));
            self.handover_due = true;
        }
    }

    /// An event of an endpoint that was removed meanwhile has no effect.
    fn set(&mut self, address: SocketAddr, state: State<C>) {
        if let Some(known) = self.endpoints.get_mut(&address) {
            *known = state;
        }
    }

    /// Returns the connection for the call number `call`: one of the ready ones in turn (round robin), otherwise a draining
    /// one. Returns `None` while it is not yet known whether there is one.
    pub(super) fn pick(&self, call: usize) -> Option<Result<C, NoEndpoint<'_, C>>> {
        let count = self.ready().count();
        if count > 0 {
            return self.ready().nth(call % count).cloned().map(Ok);
        }
        if let Some(draining) = self.draining_connections().next() {
            return Some(Ok(draining.clone()));
        }
        let all_failed = self.endpoints.values().all(|state| matches!(state, State::TransientFailure(_)));
        let known = !self.endpoints.is_empty() || self.resolve_error.is_some();
        (all_failed && known).then_some(Err(NoEndpoint(self)))
    }

    /// The open connections of endpoints that are ready.
    pub(super) fn ready(&self) -> impl Iterator<Item = &C> {
        self.endpoints.values().filter(|state| matches!(state, State::Ready(_))).filter_map(State::open)
    }

    fn draining_connections(&self) -> impl Iterator<Item = &C> {
        self.endpoints.values().filter(|state| matches!(state, State::Draining(_))).filter_map(State::open)
    }

    /// Returns whether the name has not been resolved to any address.
    pub(super) fn is_empty(&self) -> bool {
        self.endpoints.is_empty()
    }

    pub(super) fn any_draining(&self) -> bool {
        self.draining_connections().next().is_some()
    }
}

impl<C: Connection> State<C> {
    fn open(&self) -> Option<&C> {
        match self {
            Self::Ready(connection) | Self::Draining(connection) => {
                Some(connection).filter(|connection| connection.is_open())
            }
            Self::Connecting | Self::TransientFailure(_) => None,
        }
    }
}

/// Shows why no endpoint can take a call.
pub(super) struct NoEndpoint<'a, C>(&'a EndpointSet<C>);

impl<C> fmt::Display for NoEndpoint<'_, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("cannot reach the server")?;
        if let Some(error) = &self.0.resolve_error {
            write!(f, "; {error}")?;
        }
        for (address, state) in &self.0.endpoints {
            if let State::TransientFailure(error) = state {
                write!(f, "; {address}: {error}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
