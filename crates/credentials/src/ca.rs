//! A local certificate authority for development and tests.

use std::{
    fmt, fs,
    io::{self, Write},
    ops::Range,
    os::unix::fs::OpenOptionsExt,
    path::Path,
    time::{Duration, SystemTime},
};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
};

use crate::TlsError;

const HOUR: Duration = Duration::from_hours(1);
const YEAR: Duration = Duration::from_hours(365 * 24);

/// A CA that is kept in memory. Each one has its own key, and all have the same name, like a CA before
/// and after its renewal.
#[derive(Debug)]
pub struct LocalCa {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// The extended key usage of a certificate (RFC 5280, 4.2.1.12).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Usage {
    /// `server auth`.
    Server,
    /// `client auth`.
    Client,
    /// No extended key usage, as in cert-manager's certificates by default.
    Unspecified,
}

/// A certificate and its key in PEM.
#[derive(Clone)]
pub struct Pair {
    /// The certificate.
    pub cert: String,
    /// The private key, PKCS #8.
    pub key: String,
}

impl LocalCa {
    /// Generates a CA with an ECDSA P-256 key, valid for ten years.
    pub fn generate() -> Result<Self, TlsError> {
        let mut params = params(&[], &(SystemTime::now() - HOUR..SystemTime::now() + 10 * YEAR))?;
        params.distinguished_name.push(DnType::CommonName, "Kelvin local CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let issuer = CertifiedIssuer::self_signed(params, key()?)?;
        Ok(Self { issuer })
    }

    /// Returns the CA's certificate in PEM.
    #[must_use]
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// Returns the CA's private key in PEM, PKCS #8.
    #[must_use]
    pub fn key_pem(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    /// Issues a certificate for `names` (DNS names and IP addresses), valid for a year.
    pub fn issue(&self, usage: Usage, names: &[&str]) -> Result<Pair, TlsError> {
        // From an hour ago, for peers whose clocks are slow.
        self.issue_valid(usage, names, &(SystemTime::now() - HOUR..SystemTime::now() + YEAR))
    }

    /// Issues a certificate for `names`, valid at the given times.
    pub fn issue_valid(
        &self,
        usage: Usage,
        names: &[&str],
        valid: &Range<SystemTime>,
    ) -> Result<Pair, TlsError> {
        let mut params = params(names, valid)?;
        params.distinguished_name.push(DnType::CommonName, names.first().copied().unwrap_or("kelvin"));
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = match usage {
            Usage::Server => vec![ExtendedKeyUsagePurpose::ServerAuth],
            Usage::Client => vec![ExtendedKeyUsagePurpose::ClientAuth],
            Usage::Unspecified => vec![],
        };
        params.use_authority_key_identifier_extension = true;
        let key = key()?;
        let cert = params.signed_by(&key, &self.issuer)?;
        Ok(Pair { cert: cert.pem(), key: key.serialize_pem() })
    }
}

fn params(names: &[&str], valid: &Range<SystemTime>) -> Result<CertificateParams, TlsError> {
    let names: Vec<_> = names.iter().map(ToString::to_string).collect();
    let mut params = CertificateParams::new(names)?;
    params.not_before = valid.start.into();
    params.not_after = valid.end.into();
    params.distinguished_name = rcgen::DistinguishedName::new();
    Ok(params)
}

fn key() -> Result<KeyPair, TlsError> {
    Ok(KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?)
}

impl Pair {
    /// Writes both files. Only the owner may read the key.
    pub fn write(&self, cert: &Path, key: &Path) -> io::Result<()> {
        fs::write(cert, &self.cert)?;
        write_private(key, self.key.as_bytes())
    }
}

/// Writes a file that only its owner may read, such as a key or a token. Replaces an existing file.
pub fn write_private(path: &Path, content: &[u8]) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?.write_all(content)
}

impl fmt::Debug for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pair").field("cert", &self.cert).finish_non_exhaustive()
    }
}
