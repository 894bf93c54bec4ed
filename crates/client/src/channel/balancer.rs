//! Calls go to the connected addresses in turn.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    fmt,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use futures_util::future::BoxFuture;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use hyper::client::conn::http2::SendRequest;
use kelvin_app::error_chain;
use tokio::{
    sync::{Notify, watch},
    task::JoinSet,
};
use tonic::{Code, Status, body::Body};
use tower::Service;

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
    async fn pick(&self) -> Result<SendRequest<Body>, Status> {
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

/// The service over all connections. Whatever goes wrong is a gRPC status in the response.
#[derive(Debug, Clone)]
pub(super) struct Balancer {
    peers: Peers,
    /// What keeps the addresses connected; ends with the last clone.
    _tasks: Arc<JoinSet<()>>,
}

impl Balancer {
    pub(super) fn new(peers: Peers, tasks: JoinSet<()>) -> Self {
        Self { peers, _tasks: Arc::new(tasks) }
    }
}

impl Service<Request<Body>> for Balancer {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let peers = self.peers.clone();
        Box::pin(async move { Ok(send(&peers, request).await.unwrap_or_else(Status::into_http)) })
    }
}

async fn send(peers: &Peers, mut request: Request<Body>) -> Result<Response<Body>, Status> {
    loop {
        let mut connection = peers.pick().await?;
        match connection.try_send_request(request).await {
            Ok(response) => return Ok(response.map(|body| Body::new(body.map_err(|error| broken(&error))))),
            Err(mut error) => match error.take_message() {
                // The connection was about to end and has not sent it: another one can.
                Some(unsent) => request = unsent,
                None => return Err(broken(error.error())),
            },
        }
    }
}

/// The status of a call whose connection or stream broke: what the peer said by resetting it, else UNAVAILABLE.
fn broken(error: &hyper::Error) -> Status {
    let reset = std::error::Error::source(error)
        .and_then(|source| source.downcast_ref::<h2::Error>())
        .filter(|error| error.is_reset())
        .and_then(h2::Error::reason);
    // https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md, "Errors"
    let code = match reset {
        None | Some(h2::Reason::REFUSED_STREAM | h2::Reason::CANCEL) => Code::Unavailable,
        Some(h2::Reason::ENHANCE_YOUR_CALM) => Code::ResourceExhausted,
        Some(h2::Reason::INADEQUATE_SECURITY) => Code::PermissionDenied,
        Some(_) => Code::Internal,
    };
    Status::new(code, error_chain(error))
}
