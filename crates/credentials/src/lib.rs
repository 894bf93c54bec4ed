//! TLS from PEM files that are reloaded when they change, tokens likewise, and a local CA.
//!
//! Kubernetes swaps mounted secrets by symlink, which inotify does not follow, so content is polled:
//! each of [`ServerTls`], [`ClientTls`], [`Tokens`] and [`StoreSecrets`] has a `watch` that runs for ever. What is broken,
//! mismatched or expired is refused and the last good one stays.

pub mod ca;
mod client;
mod error;
mod pem;
mod reload;
mod report;
mod secrets;
mod server;
mod tokens;
mod usage;
mod watched;

pub use client::{ClientFiles, ClientTls};
pub use error::TlsError;
pub use secrets::{SecretFiles, Secrets, StoreSecrets};
pub use server::{ClientAuth, ServerFiles, ServerTls};
pub use tokens::Tokens;
pub use usage::{client_may_show, peer_may_authenticate};

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};

/// The protocol of gRPC, for ALPN.
const ALPN_H2: &[u8] = b"h2";

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}
