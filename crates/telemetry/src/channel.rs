//! The gRPC channel to a collector.

use std::time::Duration;

use http::uri::Authority;
use tonic::transport::{Channel, Endpoint};
use tower::ServiceExt as _;

use crate::{
    TelemetryError,
    destination::Destination,
    tls::{CONNECT_TIMEOUT, Connector},
};

/// A connection whose peer is gone is given up this long into an export, and its pong is waited for as
/// long. Pings are sent only while an export waits, which collectors allow.
const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// A channel that connects when it is used, and again when it has to.
pub(crate) fn connect(Destination { target, tls }: &Destination) -> Result<Channel, TelemetryError> {
    let uri = target.endpoint.clone();
    // Of an `https` endpoint tonic would want to do TLS itself, with certificates that it never reads again.
    let authority = uri.authority().map_or("", Authority::as_str);
    let endpoint = Endpoint::from_shared(format!("http://{authority}"))?
        .origin(uri.clone())
        .timeout(target.timeout)
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE);
    let connector = Connector::new(tls.clone(), Some(b"h2")).map_request(move |_| uri.clone());
    Ok(endpoint.connect_with_connector_lazy(connector))
}
