//! What can be wrong with certificates, keys and tokens.

use std::path::{Path, PathBuf};

use rustls::client::VerifierBuilderError;

/// Why files cannot be used. No text holds anything of a key or a token.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file does not hold what it should.
    #[error("{}: {problem}", path.display())]
    File {
        /// Where it is.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The key is not the certificate's.
    #[error("the key in {} does not belong to the certificate in {}", key.display(), cert.display())]
    Mismatch {
        /// Where the certificate is.
        cert: PathBuf,
        /// Where the key is.
        key: PathBuf,
    },
    /// The certificate is not valid at this time.
    #[error("{}: the certificate is valid from {from} to {until}, and not now", path.display())]
    NotValidNow {
        /// Where the certificate is.
        path: PathBuf,
        /// Its first moment.
        from: String,
        /// Its last moment.
        until: String,
    },
    /// Clients shall show certificates, and there is nothing to check them with.
    #[error("client certificates are asked for, and no CA is given to check them with")]
    NoClientCa,
    /// A client certificate without its key, or the other way round.
    #[error("a client's certificate and key go together, and only one of them is given")]
    HalfPair,
    /// The TLS library refuses the parts.
    #[error("TLS cannot be set up: {0}")]
    Setup(#[from] rustls::Error),
    /// The TLS library refuses the CAs for clients.
    #[error("client certificates cannot be checked: {0}")]
    ClientVerifier(#[from] VerifierBuilderError),
    /// A certificate could not be issued.
    #[error("cannot issue a certificate: {0}")]
    Issue(#[from] rcgen::Error),
}

impl TlsError {
    pub(crate) fn file(path: &Path, problem: impl Into<String>) -> Self {
        Self::File { path: path.to_owned(), problem: problem.into() }
    }
}
