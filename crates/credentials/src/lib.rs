//! TLS configurations, tokens and passwords from files that are reloaded when they change, and a local CA.
//!
//! Kubernetes updates mounted secrets by replacing a symlink, which inotify does not follow, so the content is polled: each
//! of [`ServerTls`], [`ClientTls`], [`OtlpTls`], [`Tokens`] and [`StoreSecrets`] has a future `watch` that does so.
//! Malformed, mismatched or expired content is rejected, and the last valid content stays in use.

pub mod ca;
mod certificates;
mod client;
mod crypto;
mod error;
mod file;
mod handshake;
mod otlp;
mod pem;
mod reload;
mod report;
mod secrets;
mod server;
mod sni;
mod tokens;
mod usage;

pub use certificates::{Identity, read_identity};
pub use client::{ClientFiles, ClientTls};
pub use error::{Role, TlsError};
pub use handshake::HandshakeResult;
pub use otlp::{CurrentConfig, OtlpTls};
pub use secrets::{SecretFiles, Secrets, StoreSecrets};
pub use server::{ClientAuth, ServerFiles, ServerTls};
pub use tokens::{Caller, TokenError, Tokens};
pub use usage::{allows_client_auth, has_client_auth_eku};
