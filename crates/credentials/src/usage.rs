//! The permitted uses of a certificate, and its expiry.

use std::time::Duration;

use rustls_pki_types::{CertificateDer, UnixTime};
use x509_parser::{certificate::X509Certificate, extensions::GeneralName, parse_x509_certificate};

/// Returns whether a peer's certificate, already verified against the CA, has `client auth` in its extended key
/// usage. A certificate without this extension does not: the same CA also issues certificates for other programs.
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

/// Returns `None` if the certificate has no extended key usage.
fn client_auth(certificate: &CertificateDer<'_>) -> Option<bool> {
    let (_, parsed) = parse_x509_certificate(certificate).ok()?;
    Some(parsed.extended_key_usage().ok()??.value.client_auth)
}

/// Returns the reason why all clients reject this as a server's certificate, if there is one.
pub(crate) fn server_flaw(leaf: &X509Certificate<'_>) -> Option<&'static str> {
    let usage = leaf.extended_key_usage().ok().flatten();
    let names = leaf.subject_alternative_name().ok().flatten();
    let has_name = names.is_some_and(|names| {
        names.value.general_names.iter().any(|name| {
            matches!(name, GeneralName::DNSName(_) | GeneralName::IPAddress(_) | GeneralName::URI(_))
        })
    });
    if is_ca(leaf) {
        Some(
            "is a CA certificate (CA:TRUE), which clients reject; issue one with CA:FALSE, or add \
             `-addext basicConstraints=critical,CA:FALSE` to `openssl req -x509`",
        )
    } else if usage.is_some_and(|usage| !usage.value.server_auth && !usage.value.any) {
        Some("has an extended key usage without serverAuth, so clients reject it; issue one with serverAuth")
    } else if !has_name {
        Some(
            "has no subject alternative name, and clients ignore the common name; issue one with its DNS names or IP \
             addresses, such as `-addext subjectAltName=DNS:NAME` of `openssl req -x509`",
        )
    } else {
        None
    }
}

/// Returns the reason why servers that verify with webpki, such as Kelvin's, reject this as a client's certificate.
pub(crate) fn client_flaw(leaf: &X509Certificate<'_>) -> Option<&'static str> {
    let usage = leaf.extended_key_usage().ok().flatten();
    if is_ca(leaf) {
        Some("is a CA certificate (CA:TRUE)")
    } else if usage.is_some_and(|usage| !usage.value.client_auth) {
        Some("has an extended key usage without clientAuth")
    } else {
        None
    }
}

fn is_ca(leaf: &X509Certificate<'_>) -> bool {
    leaf.basic_constraints().ok().flatten().is_some_and(|constraints| constraints.value.ca)
}

/// Returns the time until the next certificate of the chain expires; `None` if all have expired.
pub(crate) fn next_expiry(chain: &[CertificateDer<'_>], now: UnixTime) -> Option<Duration> {
    let ends = chain.iter().filter_map(|certificate| {
        let (_, parsed) = parse_x509_certificate(certificate).ok()?;
        u64::try_from(parsed.validity().not_after.timestamp()).ok()
    });
    // A certificate is still valid in the second of its expiry.
    ends.filter(|end| *end >= now.as_secs()).min().map(|end| Duration::from_secs(end - now.as_secs() + 1))
}

#[cfg(test)]
mod tests {
    use rustls_pki_types::pem::PemObject as _;

    use super::*;
    use crate::ca::{LocalCa, Usage};

    #[test]
    fn flaws_of_a_certificate_depend_on_its_role() {
        let ca = LocalCa::generate().unwrap();
        let issue = |usage, names: &[&str]| ca.issue(usage, names).unwrap().cert;
        for (pem, as_server, as_client) in [
            (ca.pem(), Some("CA:TRUE"), Some("CA:TRUE")),
            (issue(Usage::Server, &["localhost"]), None, Some("clientAuth")),
            (issue(Usage::Client, &["localhost"]), Some("serverAuth"), None),
            (issue(Usage::Unspecified, &["192.0.2.7"]), None, None),
            (issue(Usage::Server, &[]), Some("subject alternative name"), Some("clientAuth")),
            (issue(Usage::Unspecified, &[]), Some("subject alternative name"), None),
        ] {
            let der = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
            let (_, leaf) = parse_x509_certificate(&der).unwrap();
            for (flaw, expected) in [(server_flaw(&leaf), as_server), (client_flaw(&leaf), as_client)] {
                assert_eq!(flaw.is_some(), expected.is_some(), "{flaw:?} {expected:?}");
                assert!(
                    flaw.unwrap_or_default().contains(expected.unwrap_or_default()),
                    "{flaw:?} {expected:?}"
                );
            }
        }
    }
}
