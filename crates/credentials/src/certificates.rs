//! Certificate chains, private keys and CA bundles from PEM files.

use std::path::PathBuf;

use kelvin_app::unix_now;
use rustls::{Error, RootCertStore, sign::CertifiedKey};
use rustls_pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer,
};
use x509_parser::{certificate::X509Certificate, parse_x509_certificate, x509::X509Version};

use crate::{
    Role, TlsError,
    crypto::provider,
    file::{self, File, Loaded},
    pem::{self, Section},
    usage::{client_flaw, server_flaw},
};

const CERTIFICATE: &str = "CERTIFICATE";

/// A certificate chain and its key.
pub type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// Parses a certificate chain and its key, in this order. Checks that the key belongs to the certificate, which must be
/// valid now.
pub(crate) fn pair(files: &[File]) -> Result<Loaded<CertifiedKey>, TlsError> {
    let Loaded { value: (chain, key), expires } = identity(files)?;
    let [cert_file, key_file] = [&files[0], &files[1]];
    let value = CertifiedKey::from_der(chain, key, &provider()).map_err(|error| match error {
        Error::InconsistentKeys(_) => {
            let (cert, key) = (cert_file.path.clone(), key_file.path.clone());
            TlsError::Mismatch { role: key_file.role, cert, key }
        }
        error => key_file.error(format!("the private key cannot be used: {error}")),
    })?;
    Ok(Loaded { value, expires })
}

/// Parses the chain and key of a server. Checks that clients can accept the certificate.
pub(crate) fn server_pair(files: &[File]) -> Result<Loaded<CertifiedKey>, TlsError> {
    let pair = pair(files)?;
    match server_flaw(&parse(&files[0], 0, &pair.value.cert[0])?) {
        Some(flaw) => Err(files[0].error(format!("section 1: the server's certificate {flaw}"))),
        None => Ok(pair),
    }
}

/// Parses the chain and key of a client. An unsuitable certificate is only logged, because a server that does not request
/// certificates accepts the client.
pub(crate) fn client_pair(files: &[File]) -> Result<Loaded<CertifiedKey>, TlsError> {
    let pair = pair(files)?;
    if let Some(flaw) = client_flaw(&parse(&files[0], 0, &pair.value.cert[0])?) {
        let path = files[0].path.display();
        tracing::warn!(%path, "the client's certificate {flaw}; kelvin-server rejects it if KELVIN_MTLS is optional or required");
    }
    Ok(pair)
}

/// Parses a chain and a key without checking that they belong together.
pub(crate) fn identity(files: &[File]) -> Result<Loaded<Identity>, TlsError> {
    let ((chain, expires), key) = TlsError::both(chain(&files[0]), private_key(&files[1]))?;
    Ok(Loaded { value: (chain, key), expires: Some(expires) })
}

/// Parses a chain whose leaf must be valid now. Returns it with the expiry of the leaf in Unix seconds.
fn chain(cert_file: &File) -> Result<(Vec<CertificateDer<'static>>, i64), TlsError> {
    let chain = certificates(cert_file)?;
    let leaf = parse(cert_file, 0, &chain[0])?;
    if leaf.version() != X509Version::V3 {
        return Err(cert_file.error("section 1: the certificate is not X.509 version 3"));
    }
    let (from, until) = (leaf.validity().not_before, leaf.validity().not_after);
    if !(from.timestamp()..=until.timestamp()).contains(&unix_now()) {
        let (role, path) = (cert_file.role, cert_file.path.clone());
        return Err(TlsError::NotValidNow { role, path, from: from.to_string(), until: until.to_string() });
    }
    Ok((chain, until.timestamp()))
}

/// Parses a bundle of CA certificates and trusts all of them: while a CA is renewed, the bundle contains the
/// old and the new certificate, usually with the same name. The bundle expires with the last certificate.
pub(crate) fn roots(files: &[File]) -> Result<Loaded<RootCertStore>, TlsError> {
    let mut value = RootCertStore::empty();
    let mut expires = None;
    for (index, certificate) in certificates(&files[0])?.into_iter().enumerate() {
        let parsed = parse(&files[0], index, &certificate)?;
        expires = expires.max(Some(parsed.validity().not_after.timestamp()));
        value
            .add(certificate.clone())
            .map_err(|error| files[0].error(format!("section {}: {error}", index + 1)))?;
    }
    Ok(Loaded { value, expires })
}

/// Parses a file that contains certificates, at least one, and nothing else.
pub(crate) fn certificates(file: &File) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let mut certificates = Vec::new();
    for (index, Section { label, der }) in sections(file)?.into_iter().enumerate() {
        if label != CERTIFICATE {
            return Err(unexpected(file, index, label, "only certificates (CERTIFICATE)"));
        }
        let der = CertificateDer::from(der);
        parse(file, index, &der)?;
        certificates.push(der);
    }
    if certificates.is_empty() {
        return Err(file.error("contains no certificate in PEM"));
    }
    Ok(certificates)
}

/// Parses a file with exactly one private key. `openssl ecparam -genkey` writes the curve before the key.
fn private_key(file: &File) -> Result<PrivateKeyDer<'static>, TlsError> {
    let mut key = None;
    for (index, Section { label, der }) in sections(file)?.into_iter().enumerate() {
        let this: PrivateKeyDer<'static> = match label {
            "PRIVATE KEY" => PrivatePkcs8KeyDer::from(der).into(),
            "RSA PRIVATE KEY" => PrivatePkcs1KeyDer::from(der).into(),
            "EC PRIVATE KEY" => PrivateSec1KeyDer::from(der).into(),
            "EC PARAMETERS" if key.is_none() => continue,
            "ENCRYPTED PRIVATE KEY" => {
                return Err(file.error(format!("section {}: {}", index + 1, pem::ENCRYPTED)));
            }
            label => {
                let expected = "one PRIVATE KEY, EC PRIVATE KEY or RSA PRIVATE KEY";
                return Err(unexpected(file, index, label, expected));
            }
        };
        if key.replace(this).is_some() {
            return Err(file.error(format!("section {}: a second private key", index + 1)));
        }
    }
    key.ok_or_else(|| file.error("contains no private key in PEM"))
}

/// Encodes the certificates and the key as PEM, for libraries that parse PEM themselves: they would silently skip parts of
/// the original file that they do not recognise.
pub(crate) fn to_pem((chain, key): &Identity) -> (Vec<u8>, Vec<u8>) {
    let label = match key {
        PrivateKeyDer::Pkcs1(_) => "RSA PRIVATE KEY",
        PrivateKeyDer::Sec1(_) => "EC PRIVATE KEY",
        _ => "PRIVATE KEY",
    };
    (chain_to_pem(chain), pem::encode(label, key.secret_der()).into_bytes())
}

pub(crate) fn chain_to_pem(chain: &[CertificateDer<'_>]) -> Vec<u8> {
    chain.iter().flat_map(|certificate| pem::encode(CERTIFICATE, certificate).into_bytes()).collect()
}

fn sections(file: &File) -> Result<Vec<Section<'_>>, TlsError> {
    pem::sections(file.content()?).map_err(|problem| file.error(problem))
}

fn parse<'a>(
    file: &File,
    index: usize,
    certificate: &'a CertificateDer<'_>,
) -> Result<X509Certificate<'a>, TlsError> {
    match parse_x509_certificate(certificate) {
        Ok(([], parsed)) => Ok(parsed),
        Ok(_) => Err(file.error(format!("section {}: data after the certificate", index + 1))),
        Err(_) => Err(file.error(format!("section {}: not a valid X.509 certificate", index + 1))),
    }
}

fn unexpected(file: &File, index: usize, label: &str, expected: &str) -> TlsError {
    file.error(format!("section {}: unexpected label {label:?}; expected {expected}", index + 1))
}

/// Reads a certificate chain and its key, for one connection.
pub fn read_identity(cert: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Result<Identity, TlsError> {
    let files = file::read(&[(Role::Certificate, cert.into()), (Role::Key, key.into())]);
    TlsError::both(certificates(&files[0]), private_key(&files[1]))
}
