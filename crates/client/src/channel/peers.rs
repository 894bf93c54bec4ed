//! What is known of each address, and whose turn it is.

use std::{
    collections::BTreeMap,
    fmt,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use hyper::client::conn::http2::SendRequest;
use tokio::sync::{Notify, watch};
use tonic::{Status, body::Body};

/// What is known of the addresses of the server's name; shared by those who find out and those who call.
#[derive(Debug, Clone, Default)]
pub(super) struct Peers(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    known: watch::Sender<Known>,
    /// A connection was lost: the name may have other addresses by now.
    lost: Notify,
    turn: AtomicUsize,
}

#[derive(Debug, Default)]
struct Known {
    addresses: BTreeMap<SocketAddr, State>,
    /// Why the name has no addresses.
    lookup_error: Option<String>,
}

#[derive(Debug)]
enum State {
    /// Tried for the first time, or again after a connection that had been good.
    Connecting,
    Connected(SendRequest<Body>),
    /// Left out until it is connected again.
    Failed(String),
}

impl Peers {
    /// Takes up `address`.
    pub(super) fn add(&self, address: SocketAddr) {
        self.0.known.send_modify(|known| {
            known.addresses.insert(address, State::Connecting);
        });
    }

    /// Leaves `address`; calls that are under way there end by themselves.
    pub(super) fn remove(&self, address: SocketAddr) {
        self.0.known.send_modify(|known| {
            known.addresses.remove(&address);
        });
    }

    /// The connection ended as connections do, and is opened again at once.
    pub(super) fn connecting(&self, address: SocketAddr) {
        self.set(address, State::Connecting);
        self.0.lost.notify_one();
    }

    /// Calls go there from now on; an earlier connection ends with the calls that are on it.
    pub(super) fn connected(&self, address: SocketAddr, sender: SendRequest<Body>) {
        self.set(address, State::Connected(sender));
    }

    /// Leaves `address` out, unless an earlier connection to it still works.
    pub(super) fn failed(&self, address: SocketAddr, error: String) {
        self.set(address, State::Failed(error));
        self.0.lost.notify_one();
    }

    /// How the look-up of the name went.
    pub(super) fn looked_up(&self, result: Result<(), String>) {
        self.0.known.send_modify(|known| known.lookup_error = result.err());
    }

    /// How many addresses are connected.
    pub(super) fn connections(&self) -> usize {
        self.0.known.borrow().connected().count()
    }

    /// Waits until another look-up of the name may help.
    pub(super) async fn lost(&self) {
        self.0.lost.notified().await;
    }

    fn set(&self, address: SocketAddr, state: State) {
        self.0.known.send_modify(|known| match (known.addresses.get_mut(&address), &state) {
            (Some(State::Connected(sender)), State::Failed(_)) if !sender.is_closed() => {}
            (Some(old), _) => *old = state,
            // It was removed meanwhile.
            (None, _) => {}
        });
    }

    /// The connection whose turn it is. Waits while it is not yet known whether there is one.
    pub(super) async fn pick(&self) -> Result<SendRequest<Body>, Status> {
        let turn = self.0.turn.fetch_add(1, Ordering::Relaxed);
        let mut known = self.0.known.subscribe();
        loop {
            if let Some(picked) = known.borrow_and_update().pick(turn) {
                return picked;
            }
            known.changed().await.map_err(|_| Status::unavailable("the channel is closed"))?;
        }
    }
}

impl Known {
    fn connected(&self) -> impl Iterator<Item = &SendRequest<Body>> {
        self.addresses.values().filter_map(|state| match state {
            State::Connected(sender) if !sender.is_closed() => Some(sender),
            _ => None,
        })
    }

    fn pick(&self, turn: usize) -> Option<Result<SendRequest<Body>, Status>> {
        let count = self.connected().count();
        if count > 0 {
            return self.connected().nth(turn % count).cloned().map(Ok);
        }
        let all_failed = self.addresses.values().all(|state| matches!(state, State::Failed(_)));
        let known = !self.addresses.is_empty() || self.lookup_error.is_some();
        (all_failed && known).then(|| Err(Status::unavailable(self.to_string())))
    }
}

/// Why there is no connection.
impl fmt::Display for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("cannot reach the server")?;
        if let Some(error) = &self.lookup_error {
            write!(f, "; {error}")?;
        }
        for (address, state) in &self.addresses {
            if let State::Failed(error) = state {
                write!(f, "; {address}: {error}")?;
            }
        }
        Ok(())
    }
}
