//! The endpoints of the server's name, shared by the tasks that resolve and connect and by the calls.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use hyper::client::conn::http2::SendRequest;
use tokio::sync::{Notify, watch};
use tonic::{Status, body::Body};

use super::endpoint_set::{Connection, Effects, EndpointSet, Event};

#[derive(Debug, Clone)]
pub(super) struct HttpConnection {
    pub(super) sender: SendRequest<Body>,
    pub(super) peer: SocketAddr,
}

impl Connection for HttpConnection {
    fn is_open(&self) -> bool {
        !self.sender.is_closed()
    }
}

/// What a call waits for before it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wait {
    Resolving,
    Connecting,
}

impl Wait {
    /// Returns `grpc.delay_type` (gRFC A121).
    pub(super) fn delay_type(self) -> &'static str {
        match self {
            Self::Resolving => "resolving",
            Self::Connecting => "connecting",
        }
    }

    /// Returns `grpc.delay_reason`.
    pub(super) fn delay_reason(self) -> &'static str {
        match self {
            Self::Resolving => "dns: waiting for the first addresses of the target",
            Self::Connecting => "round_robin: waiting for any endpoint to connect",
        }
    }
}

/// Applies events to the [`EndpointSet`] one at a time, in the order in which they come.
#[derive(Debug, Clone, Default)]
pub(super) struct Endpoints(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    set: watch::Sender<EndpointSet<HttpConnection>>,
    /// Notified when another look-up of the name may help.
    resolve: Notify,
    /// Changes with every handover.
    handovers: watch::Sender<u64>,
    next_call: AtomicUsize,
}

impl Endpoints {
    /// Applies an event. Returns the connections that the caller has to open and to end.
    pub(super) fn apply(&self, event: Event<HttpConnection>) -> Effects {
        let mut effects = Effects::default();
        self.0.set.send_modify(|set| (*set, effects) = std::mem::take(set).step(event));
        if effects.resolve {
            self.0.resolve.notify_one();
        }
        if effects.hand_over {
            self.0.handovers.send_modify(|handovers| *handovers += 1);
        }
        effects
    }

    /// Returns the number of ready endpoints.
    pub(super) fn connections(&self) -> usize {
        self.0.set.borrow().ready().count()
    }

    /// Waits until another look-up of the name may help.
    pub(super) async fn resolve_requested(&self) {
        self.0.resolve.notified().await;
    }

    pub(super) fn any_draining(&self) -> bool {
        self.0.set.borrow().any_draining()
    }

    /// Waits until long-lived calls should be opened again, on another server.
    pub(super) async fn handed_over(&self) {
        // A new receiver has seen the present value. The sender lives as long as `self`.
        let _ = self.0.handovers.subscribe().changed().await;
    }

    /// The connection for the next call. Waits while it is not yet known whether there is one; keeps what `waiting` returns
    /// for as long as it waits for this.
    pub(super) async fn pick<D>(&self, waiting: impl Fn(Wait) -> D) -> Result<HttpConnection, Status> {
        let call = self.0.next_call.fetch_add(1, Ordering::Relaxed);
        let mut set = self.0.set.subscribe();
        let mut delay: Option<(Wait, D)> = None;
        loop {
            let wait = {
                let set = set.borrow_and_update();
                if let Some(picked) = set.pick(call) {
                    return picked.map_err(|error| Status::unavailable(error.to_string()));
                }
                if set.is_empty() { Wait::Resolving } else { Wait::Connecting }
            };
            if delay.as_ref().is_none_or(|(known, _)| *known != wait) {
                // The old delay ends before the next one begins.
                drop(delay.take());
                delay = Some((wait, waiting(wait)));
            }
            set.changed().await.map_err(|_| Status::unavailable("the channel is closed"))?;
        }
    }
}
