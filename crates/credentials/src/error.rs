//! Errors of certificates, keys, tokens and passwords.

use std::path::PathBuf;

use rustls::client::VerifierBuilderError;

/// The role of a file. Each program maps it to the setting that names the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// The certificate chain to present.
    Certificate,
    /// The private key of [`Certificate`](Self::Certificate).
    Key,
    /// The CA bundle that peers are verified with.
    Ca,
    /// The certificate chain that a server presents for its public names.
    ExternalCertificate,
    /// The private key of [`ExternalCertificate`](Self::ExternalCertificate).
    ExternalKey,
    /// The tokens.
    Tokens,
    /// The password.
    Password,
}

/// The reason why files cannot be used. No message contains any part of a key, a token or a password.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The content of a file is invalid.
    #[error("{}: {problem}", path.display())]
    File {
        /// The role of the file.
        role: Role,
        /// The path of the file.
        path: PathBuf,
        /// The problem with its content.
        problem: String,
    },
    /// The key does not belong to the certificate.
    #[error("the key in {} does not match the certificate in {}", key.display(), cert.display())]
    Mismatch {
        /// The role of the key file.
        role: Role,
        /// The path of the certificate.
        cert: PathBuf,
        /// The path of the key.
        key: PathBuf,
    },
    /// The certificate is not valid at this time.
    #[error("{}: the certificate is not valid now, only from {from} to {until}", path.display())]
    NotValidNow {
        /// The role of the file.
        role: Role,
        /// The path of the certificate.
        path: PathBuf,
        /// The start of its validity.
        from: String,
        /// The end of its validity.
        until: String,
    },
    /// Client certificates are requested without a CA bundle to verify them with.
    #[error("client certificates are requested, but there is no CA bundle to verify them with")]
    NoClientCa,
    /// No CA bundle is set, and the system has no trusted roots.
    #[error("no trusted CA certificate found on this system ({0}); set a CA file")]
    NoSystemRoots(String),
    /// A certificate is set without its key, or a key without its certificate.
    #[error("a certificate and its key go together, but only one of them is set")]
    IncompletePair,
    /// rustls rejects the configuration.
    #[error("TLS cannot be configured: {0}")]
    Setup(#[from] rustls::Error),
    /// rustls rejects the CA bundle for clients.
    #[error("client certificates cannot be verified: {0}")]
    ClientVerifier(#[from] VerifierBuilderError),
    /// A certificate could not be issued.
    #[error("cannot issue a certificate: {0}")]
    Issue(#[from] rcgen::Error),
    /// More than one file is invalid.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Several(Vec<Self>),
}

impl TlsError {
    /// Returns the role of the invalid file; for [`Several`](Self::Several), that of the first one.
    #[must_use]
    pub fn role(&self) -> Role {
        match self {
            Self::File { role, .. } | Self::Mismatch { role, .. } | Self::NotValidNow { role, .. } => *role,
            Self::NoClientCa | Self::NoSystemRoots(_) | Self::ClientVerifier(_) => Role::Ca,
            Self::IncompletePair | Self::Setup(_) | Self::Issue(_) => Role::Certificate,
            Self::Several(errors) => errors.first().map_or(Role::Certificate, Self::role),
        }
    }

    /// Splits [`Several`](Self::Several) into its errors; returns any other error alone.
    #[must_use]
    pub fn each(self) -> Vec<Self> {
        match self {
            Self::Several(errors) => errors,
            error => vec![error],
        }
    }

    /// Returns both values, or the errors of both.
    pub(crate) fn both<A, B>(one: Result<A, Self>, other: Result<B, Self>) -> Result<(A, B), Self> {
        match (one, other) {
            (Ok(one), Ok(other)) => Ok((one, other)),
            (Err(one), Err(other)) => {
                Err(Self::Several(one.each().into_iter().chain(other.each()).collect()))
            }
            (Err(error), _) | (_, Err(error)) => Err(error),
        }
    }
}
