//! What a certificate says it is for.

use rustls_pki_types::CertificateDer;
use x509_parser::parse_x509_certificate;

/// Whether a peer's certificate, already checked against the CA, says `client auth` in its extended key
/// usage. One that says nothing does not: programs of other purposes have certificates of the same CA.
#[must_use]
pub fn peer_may_authenticate(certificate: &CertificateDer<'_>) -> bool {
    says_client_auth(certificate).unwrap_or(false)
}

/// Whether a client that shows this certificate is not refused for its purpose: that says `client auth`, or nothing.
#[must_use]
pub fn client_may_show(certificate: &CertificateDer<'_>) -> bool {
    says_client_auth(certificate).unwrap_or(true)
}

/// Nothing where the certificate states no purpose.
fn says_client_auth(certificate: &CertificateDer<'_>) -> Option<bool> {
    let (_, parsed) = parse_x509_certificate(certificate).ok()?;
    Some(parsed.extended_key_usage().ok()??.value.client_auth)
}
