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
    /// A connected server is no longer an address of the name, and nobody has taken its place yet.
    gone: bool,
    /// How often a server that goes got a successor.
    moves: u64,
}

#[derive(Debug)]
enum State {
    /// Tried for the first time, or again after a connection that had been good.
    Connecting,
    Connected(SendRequest<Body>),
    /// Says that it is about to go; used where there is no other.
    Leaving(SendRequest<Body>),
    /// Left out until it is connected again.
    Failed(String),
}

impl State {
    /// The connection, if there is one.
    fn open(&self) -> Option<&SendRequest<Body>> {
        match self {
            Self::Connected(sender) | Self::Leaving(sender) => {
                Some(sender).filter(|sender| !sender.is_closed())
            }
            Self::Connecting | Self::Failed(_) => None,
        }
    }
}

impl Peers {
    /// Takes up `address`.
    pub(super) fn add(&self, address: SocketAddr) {
        self.update(|known| {
            known.addresses.insert(address, State::Connecting);
        });
    }

    /// Leaves `address`; calls that are under way there end by themselves, and those that go on for long move.
    pub(super) fn remove(&self, address: SocketAddr) {
        self.update(|known| {
            let had_successor = known.has_successor();
            let Some(state) = known.addresses.remove(&address) else { return };
            let moved = had_successor && matches!(state, State::Leaving(_));
            known.gone |= state.open().is_some() && !moved;
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

    /// What the server at `address` says of itself.
    pub(super) fn serving(&self, address: SocketAddr, serving: bool) {
        self.update(|known| {
            let Some(state) = known.addresses.get_mut(&address) else { return };
            match (&*state, serving) {
                (State::Connected(sender), false) => *state = State::Leaving(sender.clone()),
                (State::Leaving(sender), true) => *state = State::Connected(sender.clone()),
                _ => {}
            }
        });
        if !serving {
            self.0.lost.notify_one();
        }
    }

    /// Leaves `address` out, unless an earlier connection to it still works.
    pub(super) fn failed(&self, address: SocketAddr, error: String) {
        self.set(address, State::Failed(error));
        self.0.lost.notify_one();
    }

    /// How the look-up of the name went.
    pub(super) fn looked_up(&self, result: Result<(), String>) {
        self.update(|known| known.lookup_error = result.err());
    }

    /// How many addresses are connected.
    pub(super) fn connections(&self) -> usize {
        self.0.known.borrow().connected().count()
    }

    /// Waits until another look-up of the name may help.
    pub(super) async fn lost(&self) {
        self.0.lost.notified().await;
    }

    /// Whether a server has said that it is about to go.
    pub(super) fn any_leaving(&self) -> bool {
        self.0.known.borrow().any_leaving()
    }

    /// Waits until a server that goes has a successor.
    pub(super) async fn moved(&self) {
        let mut known = self.0.known.subscribe();
        let moves = known.borrow().moves;
        let _ = known.wait_for(|known| known.moves != moves).await;
    }

    fn set(&self, address: SocketAddr, state: State) {
        self.update(|known| match (known.addresses.get_mut(&address), &state) {
            (Some(old), State::Failed(_)) if old.open().is_some() => {}
            (Some(old), _) => *old = state,
            // It was removed meanwhile.
            (None, _) => {}
        });
    }

    fn update(&self, change: impl FnOnce(&mut Known)) {
        self.0.known.send_modify(|known| {
            let before = known.has_successor();
            change(known);
            if known.has_successor() {
                known.moves += u64::from(known.gone || !before);
                known.gone = false;
            }
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
        self.addresses.values().filter(|state| matches!(state, State::Connected(_))).filter_map(State::open)
    }

    fn leaving(&self) -> impl Iterator<Item = &SendRequest<Body>> {
        self.addresses.values().filter(|state| matches!(state, State::Leaving(_))).filter_map(State::open)
    }

    fn any_leaving(&self) -> bool {
        self.leaving().next().is_some()
    }

    fn has_successor(&self) -> bool {
        (self.gone || self.any_leaving()) && self.connected().next().is_some()
    }

    fn pick(&self, turn: usize) -> Option<Result<SendRequest<Body>, Status>> {
        let count = self.connected().count();
        if count > 0 {
            return self.connected().nth(turn % count).cloned().map(Ok);
        }
        if let Some(leaving) = self.leaving().next() {
            return Some(Ok(leaving.clone()));
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
