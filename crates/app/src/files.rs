//! Files that variables name.

use std::path::PathBuf;

/// A file, and the variable that names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedFile {
    /// The whole name of the variable.
    pub variable: String,
    /// Its value.
    pub path: PathBuf,
}

/// The PEM files of a TLS client.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// The CA bundle that servers are verified with; without one, the system's trusted roots.
    pub ca: Option<NamedFile>,
    /// The client's certificate chain.
    pub cert: Option<NamedFile>,
    /// The certificate's private key.
    pub key: Option<NamedFile>,
}
