//! The two ends of a server's call in OpenTelemetry's attributes.

use std::{
    borrow::Borrow,
    cell::RefCell,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    thread::LocalKey,
};

use http::Request;
use opentelemetry::KeyValue;

use crate::names::{SERVER_ADDRESS, SERVER_PORT};

/// Sets what a request says of its way here.
pub(super) fn of_request<B>(
    request: &Request<B>,
    peer: fn(&http::Extensions) -> Option<SocketAddr>,
    set: &mut dyn FnMut(KeyValue),
) {
    thread_local! {
        static SERVER: Last<String, (Arc<str>, Option<u16>)> = const { RefCell::new(None) };
        static PEER: Last<IpAddr, Arc<str>> = const { RefCell::new(None) };
    }
    if let Some(authority) = request.uri().authority() {
        let (host, port) =
            memoized(&SERVER, authority.as_str(), || (authority.host().into(), authority.port_u16()));
        set(KeyValue::new(SERVER_ADDRESS, host));
        if let Some(port) = port {
            set(KeyValue::new(SERVER_PORT, i64::from(port)));
        }
    }
    if let Some(peer) = peer(request.extensions()) {
        let address = memoized(&PEER, &peer.ip(), || peer.ip().to_string().into());
        set(KeyValue::new("network.peer.address", address));
        set(KeyValue::new("network.peer.port", i64::from(peer.port())));
    }
}

type Last<K, V> = RefCell<Option<(K, V)>>;

/// What `make` makes of the key, unless that was the key of this thread's last call too: most calls in a row come over
/// the same connection.
fn memoized<K, Q, V>(last: &'static LocalKey<Last<K, V>>, key: &Q, make: impl FnOnce() -> V) -> V
where
    K: Borrow<Q>,
    Q: ToOwned<Owned = K> + PartialEq + ?Sized,
    V: Clone,
{
    last.with_borrow_mut(|last| match last {
        Some((known, value)) if (*known).borrow() == key => value.clone(),
        _ => last.insert((key.to_owned(), make())).1.clone(),
    })
}

/// The peer's address as tonic's transport puts it into the extensions.
#[cfg(feature = "transport")]
pub(super) fn tonic_peer(extensions: &http::Extensions) -> Option<SocketAddr> {
    use tonic::transport::server::TcpConnectInfo;

    extensions.get::<TcpConnectInfo>().and_then(TcpConnectInfo::remote_addr)
}

/// Without tonic's transport only the application knows the peer.
#[cfg(not(feature = "transport"))]
pub(super) fn tonic_peer(_: &http::Extensions) -> Option<SocketAddr> {
    None
}
