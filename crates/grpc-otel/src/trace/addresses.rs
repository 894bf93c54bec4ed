//! The addresses of a server and its peer as OpenTelemetry's attributes.

use std::{
    borrow::Borrow,
    cell::RefCell,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    thread::LocalKey,
};

use http::{Request, uri::Authority};
use opentelemetry::KeyValue;

use crate::names::{SERVER_ADDRESS, SERVER_PORT};

/// Bytes of a value that a caller chose which come into an attribute: headers may have thousands.
const MAX_VALUE: usize = 256;

/// Truncates a value that a caller chose.
pub(super) fn cut(value: &str) -> &str {
    let end = (0..=value.len().min(MAX_VALUE)).rev().find(|end| value.is_char_boundary(*end));
    &value[..end.unwrap_or_default()]
}

/// Sets what a request says of the server.
pub(super) fn server<B>(request: &Request<B>, set: &mut dyn FnMut(KeyValue)) {
    thread_local! {
        static SERVER: Last<String, (Arc<str>, Option<u16>)> = const { RefCell::new(None) };
    }
    if let Some(authority) = request.uri().authority() {
        let (host, port) =
            memoized(&SERVER, authority.as_str(), || (cut(host(authority)).into(), authority.port_u16()));
        set(KeyValue::new(SERVER_ADDRESS, host));
        if let Some(port) = port {
            set(KeyValue::new(SERVER_PORT, i64::from(port)));
        }
    }
}

/// Returns the attributes of a peer.
pub(crate) fn peer(peer: SocketAddr) -> [KeyValue; 2] {
    thread_local! {
        static PEER: Last<IpAddr, Arc<str>> = const { RefCell::new(None) };
    }
    // A socket for both versions has IPv4's addresses mapped into IPv6.
    let address = memoized(&PEER, &peer.ip(), || peer.ip().to_canonical().to_string().into());
    [
        KeyValue::new("network.peer.address", address),
        KeyValue::new("network.peer.port", i64::from(peer.port())),
    ]
}

/// Returns the host without the brackets that an IPv6 address has in a URI.
fn host(authority: &Authority) -> &str {
    let host = authority.host();
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

type Last<K, V> = RefCell<Option<(K, V)>>;

/// Returns what `make` makes of the key. It is not called again if the key is that of this thread's last call: most
/// calls in a row come over the same connection.
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

/// Returns the peer's address as tonic's transport puts it into the extensions.
#[cfg(feature = "transport")]
pub(super) fn tonic_peer(extensions: &http::Extensions) -> Option<SocketAddr> {
    use tonic::transport::server::TcpConnectInfo;

    extensions.get::<TcpConnectInfo>().and_then(TcpConnectInfo::remote_addr)
}

/// Returns nothing: without tonic's transport only the application knows the peer.
#[cfg(not(feature = "transport"))]
pub(super) fn tonic_peer(_: &http::Extensions) -> Option<SocketAddr> {
    None
}
