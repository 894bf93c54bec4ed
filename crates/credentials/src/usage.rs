//! What a certificate may be used for, and until when.

use std::time::Duration;

use rustls_pki_types::{CertificateDer, UnixTime};
use x509_parser::parse_x509_certificate;

/// Returns whether a peer's certificate, already verified against the CA, has `client auth` in its extended key
/// usage. One without this extension does not: programs of other purposes have certificates of the same CA.
#[must_use]
pub fn has_client_auth_eku(certificate: &CertificateDer<'_>) -> bool {
    client_auth(certificate).unwrap_or(false)
}

/// Returns whether a client's certificate is accepted for its purpose: its extended key usage contains `client auth`,
/// or it has no such extension.
#[must_use]
pub fn allows_client_auth(certificate: &CertificateDer<'_>) -> bool {
    client_auth(certificate).unwrap_or(true)
}

/// `None` where the certificate has no extended key usage.
fn client_auth(certificate: &CertificateDer<'_>) -> Option<bool> {
    let (_, parsed) = parse_x509_certificate(certificate).ok()?;
    Some(parsed.extended_key_usage().ok()??.value.client_auth)
}

/// The time until the next certificate of the chain expires; `None` where all have.
pub(crate) fn next_expiry(chain: &[CertificateDer<'_>], now: UnixTime) -> Option<Duration> {
    let ends = chain.iter().filter_map(|certificate| {
        let (_, parsed) = parse_x509_certificate(certificate).ok()?;
        u64::try_from(parsed.validity().not_after.timestamp()).ok()
    });
    // A certificate is valid in its last second.
    ends.filter(|end| *end >= now.as_secs()).min().map(|end| Duration::from_secs(end - now.as_secs() + 1))
}
