//! The parts that all TLS configurations share.

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};

/// The ALPN protocol id of HTTP/2, which gRPC uses.
pub(crate) const ALPN_H2: &[u8] = b"h2";

pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}
