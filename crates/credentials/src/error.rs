//! What can be wrong with certificates, keys, tokens and passwords.

use std::path::PathBuf;

use rustls::client::VerifierBuilderError;

/// What a file is for. Each program maps it to the setting that names the file.
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

/// Why files cannot be used. No message contains any part of a key, a token or a password.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file does not contain what it should.
    #[error("{}: {problem}", path.display())]
    File {
        /// What the file is for.
        role: Role,
        /// Where it is.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The key is not the certificate's.
    #[error("the key in {} does not match the certificate in {}", key.display(), cert.display())]
    Mismatch {
        /// What the key file is for.
        role: Role,
        /// Where the certificate is.
        cert: PathBuf,
        /// Where the key is.
        key: PathBuf,
    },
    /// The certificate is not valid at this time.
    #[error("{}: the certificate is not valid now, only from {from} to {until}", path.display())]
    NotValidNow {
        /// What the file is for.
        role: Role,
        /// Where the certificate is.
        path: PathBuf,
        /// The start of its validity.
        from: String,
        /// The end of its validity.
        until: String,
    },
    /// Client certificates are requested without a CA bundle to verify them with.
    #[error("client certificates are requested, but there is no CA bundle to verify them with")]
    NoClientCa,
    /// No CA bundle is given and the system has no trusted roots either.
    #[error("no trusted CA certificate found on this system ({0}); set a CA file")]
    NoSystemRoots(String),
    /// A certificate without its key, or the other way round.
    #[error("a certificate and its key go together, but only one of them is set")]
    IncompletePair,
    /// rustls rejects the parts.
    #[error("TLS cannot be configured: {0}")]
    Setup(#[from] rustls::Error),
    /// rustls rejects the CA bundle for clients.
    #[error("client certificates cannot be verified: {0}")]
    ClientVerifier(#[from] VerifierBuilderError),
    /// A certificate could not be issued.
    #[error("cannot issue a certificate: {0}")]
    Issue(#[from] rcgen::Error),
    /// More than one file is at fault.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Several(Vec<Self>),
}

impl TlsError {
    /// Returns the role of the file at fault, of [`Several`](Self::Several) the first one's.
    #[must_use]
    pub fn role(&self) -> Role {
        match self {
            Self::File { role, .. } | Self::Mismatch { role, .. } | Self::NotValidNow { role, .. } => *role,
            Self::NoClientCa | Self::NoSystemRoots(_) | Self::ClientVerifier(_) => Role::Ca,
            Self::IncompletePair | Self::Setup(_) | Self::Issue(_) => Role::Certificate,
            Self::Several(errors) => errors.first().map_or(Role::Certificate, Self::role),
        }
    }

    /// Returns each error by itself.
    #[must_use]
    pub fn each(self) -> Vec<Self> {
        match self {
            Self::Several(errors) => errors,
            error => vec![error],
        }
    }

    /// Both values, or what is wrong with each.
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
