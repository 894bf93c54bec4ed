//! The gRPC channel to a collector.

use std::time::Duration;

use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

use crate::{
    TelemetryError,
    environment::Target,
    http_client::{read, tls as tls_config},
};

/// For TCP and TLS together. A collector's node that is gone answers nothing at all.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection whose peer is gone is given up this long into an export, and its pong is waited for as
/// long. Pings are sent only while an export waits, which collectors allow.
const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// A channel that connects when it is used, and again when it has to.
pub(crate) fn connect(target: &Target) -> Result<Channel, TelemetryError> {
    let mut endpoint = Endpoint::from_shared(target.endpoint.clone())?
        .timeout(target.timeout)
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE);
    if endpoint.uri().scheme_str() == Some("https") {
        endpoint = endpoint.tls_config(tls(target)?)?;
    }
    Ok(endpoint.connect_lazy())
}

fn tls(target: &Target) -> Result<ClientTlsConfig, TelemetryError> {
    // tonic takes files without a certificate, and then every connection fails.
    tls_config(target)?;
    let mut tls = match &target.ca {
        Some(ca) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(read(ca)?)),
        None => ClientTlsConfig::new().with_native_roots(),
    };
    if let Some((cert, key)) = &target.identity {
        tls = tls.identity(Identity::from_pem(read(cert)?, read(key)?));
    }
    Ok(tls)
}
