//! What all TLS configurations have in common.

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};

/// The protocol of gRPC, for ALPN.
pub(crate) const ALPN_H2: &[u8] = b"h2";

pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}
