//! What a certificate says it is for.

use rustls_pki_types::CertificateDer;
use x509_parser::parse_x509_certificate;

/// Whether a peer's certificate, already checked against the CA, says `client auth` in its extended key
/// usage. One that says nothing does not: programs of other purposes have certificates of the same CA.
#[must_use]
pub fn peer_may_authenticate(certificate: &CertificateDer<'_>) -> bool {
    parse_x509_certificate(certificate)
        .ok()
        .and_then(|(_, parsed)| Some(parsed.extended_key_usage().ok()??.value.client_auth))
        .unwrap_or(false)
}
