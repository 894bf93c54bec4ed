/// The reason why a call was ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EndReason {
    /// The caller's deadline.
    Deadline,
    /// The server's limit for the age of calls.
    Age,
    /// The server shuts down.
    Drain,
    /// The caller's token is no longer in the token file.
    TokenRemoved,
    /// The client certificate of the connection has expired, or its CA is no longer trusted.
    CertificateRejected,
}
