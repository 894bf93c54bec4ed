//! Certificates, keys and CA bundles from PEM.

use std::path::{Path, PathBuf};

use kelvin_app::unix_now;
use rustls::{Error, RootCertStore, sign::CertifiedKey};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use x509_parser::{parse_x509_certificate, time::ASN1Time, x509::X509Version};

use crate::{TlsError, provider, watched::Loaded};

/// A certificate chain and its key, in this order; valid now.
pub(crate) fn pair(paths: &[PathBuf], contents: &[Vec<u8>]) -> Result<Loaded<CertifiedKey>, TlsError> {
    let [(cert, cert_pem), (key, key_pem)] = [0, 1].map(|i| (&paths[i], &contents[i]));
    let chain = certificates(cert, cert_pem)?;
    let expires = valid_now(cert, &chain[0])?;
    // The parser's own words could quote a line of the key.
    let der = PrivateKeyDer::from_pem_slice(key_pem)
        .map_err(|_| TlsError::file(key, "holds no private key in PEM"))?;
    let value = CertifiedKey::from_der(chain, der, &provider()).map_err(|error| match error {
        Error::InconsistentKeys(_) => TlsError::Mismatch { cert: cert.clone(), key: key.clone() },
        error => TlsError::file(key, error.to_string()),
    })?;
    Ok(Loaded { value, expires: Some(expires) })
}

/// A bundle of CA certificates, all of which are trusted: while a CA is renewed, the old and the new one
/// stand side by side, most likely under one name. It expires when its last one does.
pub(crate) fn roots(paths: &[PathBuf], contents: &[Vec<u8>]) -> Result<Loaded<RootCertStore>, TlsError> {
    let mut value = RootCertStore::empty();
    let mut expires = None;
    for certificate in certificates(&paths[0], &contents[0])? {
        let until = validity(&paths[0], &certificate)?.1.timestamp();
        expires = expires.max(Some(until));
        value.add(certificate).map_err(|error| TlsError::file(&paths[0], error.to_string()))?;
    }
    Ok(Loaded { value, expires })
}

fn certificates(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|_| TlsError::file(path, "holds broken PEM"))?;
    if certificates.is_empty() {
        return Err(TlsError::file(path, "holds no certificate in PEM"));
    }
    Ok(certificates)
}

/// The end of the certificate in Unix seconds, or an error where it is not valid at this time.
fn valid_now(path: &Path, certificate: &CertificateDer<'_>) -> Result<i64, TlsError> {
    let (from, until) = validity(path, certificate)?;
    if (from.timestamp()..=until.timestamp()).contains(&unix_now()) {
        Ok(until.timestamp())
    } else {
        Err(TlsError::NotValidNow { path: path.into(), from: from.to_string(), until: until.to_string() })
    }
}

fn validity(path: &Path, certificate: &CertificateDer<'_>) -> Result<(ASN1Time, ASN1Time), TlsError> {
    let (_, parsed) = parse_x509_certificate(certificate)
        .map_err(|error| TlsError::file(path, format!("holds a broken certificate: {error}")))?;
    if parsed.version() != X509Version::V3 {
        return Err(TlsError::file(path, "holds a certificate that is not X.509 version 3"));
    }
    Ok((parsed.validity().not_before, parsed.validity().not_after))
}
