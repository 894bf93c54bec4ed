//! What travels in the headers of a request.

use std::net::SocketAddr;

use http::{HeaderMap, HeaderName, HeaderValue, Request};
use opentelemetry::{
    KeyValue,
    propagation::{Extractor, Injector},
};

use crate::names::{SERVER_ADDRESS, SERVER_PORT};

static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// The metadata of a request, for a propagator to read.
pub(super) struct Incoming<'a>(pub(super) &'a HeaderMap);

impl Extractor for Incoming<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        // Asked for in every call, and mostly in vain: found without reading the name anew.
        let value = if key == TRACEPARENT { self.0.get(&TRACEPARENT) } else { self.0.get(key) };
        value?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }

    fn get_all(&self, key: &str) -> Option<Vec<&str>> {
        let values: Vec<_> = self.0.get_all(key).iter().filter_map(|value| value.to_str().ok()).collect();
        (!values.is_empty()).then_some(values)
    }
}

/// The metadata of a request, for a propagator to write.
pub(super) struct Outgoing<'a>(pub(super) &'a mut HeaderMap);

impl Injector for Outgoing<'_> {
    fn set(&mut self, key: &str, value: String) {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(key), HeaderValue::try_from(value)) {
            self.0.insert(name, value);
        }
    }
}

/// What a request says of its way here, by OpenTelemetry's conventions.
pub(super) fn of_request<B>(
    request: &Request<B>,
    peer: fn(&http::Extensions) -> Option<SocketAddr>,
    registered: bool,
) -> impl Iterator<Item = KeyValue> {
    let authority = request.uri().authority();
    let address = authority.map(|authority| KeyValue::new(SERVER_ADDRESS, authority.host().to_owned()));
    let port = authority
        .and_then(http::uri::Authority::port_u16)
        .map(|port| KeyValue::new(SERVER_PORT, i64::from(port)));
    let peer = peer(request.extensions());
    let peer_address = peer.map(|peer| KeyValue::new("network.peer.address", peer.ip().to_string()));
    let peer_port = peer.map(|peer| KeyValue::new("network.peer.port", i64::from(peer.port())));
    let original = (!registered).then(|| {
        let name = request.uri().path().trim_start_matches('/').to_owned();
        KeyValue::new("rpc.method_original", name)
    });
    [address, port, peer_address, peer_port, original].into_iter().flatten()
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
