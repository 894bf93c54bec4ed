//! Results of TLS handshakes, as defined by gRFC A118.

use std::io;

use opentelemetry::KeyValue;
use rustls::{AlertDescription as Alert, CertificateError as Certificate, Error, PeerIncompatible as Peer};

/// The result of a TLS handshake: a value of `grpc.tls.handshake.result` (gRFC A118).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "A118 documents them")]
pub enum HandshakeResult {
    Success,
    HandshakeTimeout,
    PeerConnectionClosed,
    NoApplicationProtocol,
    UnexpectedMessage,
    DecryptionFailed,
    CipherSuiteMismatch,
    KeyExchangeFailure,
    ProtocolVersionUnsupported,
    InappropriateFallback,
    CertificateExpired,
    CertificateNotYetValid,
    CertificateRevoked,
    CertificateAuthorityInvalid,
    CertificateHostnameMismatch,
    CertificateMalformed,
    CertificateVerificationFailed,
    SignatureVerificationFailed,
    UnknownFailure,
}

impl HandshakeResult {
    /// All results.
    pub const ALL: [Self; 19] = [
        Self::Success,
        Self::HandshakeTimeout,
        Self::PeerConnectionClosed,
        Self::NoApplicationProtocol,
        Self::UnexpectedMessage,
        Self::DecryptionFailed,
        Self::CipherSuiteMismatch,
        Self::KeyExchangeFailure,
        Self::ProtocolVersionUnsupported,
        Self::InappropriateFallback,
        Self::CertificateExpired,
        Self::CertificateNotYetValid,
        Self::CertificateRevoked,
        Self::CertificateAuthorityInvalid,
        Self::CertificateHostnameMismatch,
        Self::CertificateMalformed,
        Self::CertificateVerificationFailed,
        Self::SignatureVerificationFailed,
        Self::UnknownFailure,
    ];

    /// Returns the value of the attribute.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "SUCCESS",
            Self::HandshakeTimeout => "HANDSHAKE_TIMEOUT",
            Self::PeerConnectionClosed => "PEER_CONNECTION_CLOSED",
            Self::NoApplicationProtocol => "NO_APPLICATION_PROTOCOL",
            Self::UnexpectedMessage => "UNEXPECTED_MESSAGE",
            Self::DecryptionFailed => "DECRYPTION_FAILED",
            Self::CipherSuiteMismatch => "CIPHER_SUITE_MISMATCH",
            Self::KeyExchangeFailure => "KEY_EXCHANGE_FAILURE",
            Self::ProtocolVersionUnsupported => "PROTOCOL_VERSION_UNSUPPORTED",
            Self::InappropriateFallback => "INAPPROPRIATE_FALLBACK",
            Self::CertificateExpired => "CERTIFICATE_EXPIRED",
            Self::CertificateNotYetValid => "CERTIFICATE_NOT_YET_VALID",
            Self::CertificateRevoked => "CERTIFICATE_REVOKED",
            Self::CertificateAuthorityInvalid => "CERTIFICATE_AUTHORITY_INVALID",
            Self::CertificateHostnameMismatch => "CERTIFICATE_HOSTNAME_MISMATCH",
            Self::CertificateMalformed => "CERTIFICATE_MALFORMED",
            Self::CertificateVerificationFailed => "CERTIFICATE_VERIFICATION_FAILED",
            Self::SignatureVerificationFailed => "SIGNATURE_VERIFICATION_FAILED",
            Self::UnknownFailure => "UNKNOWN_FAILURE",
        }
    }
}

impl From<HandshakeResult> for KeyValue {
    fn from(result: HandshakeResult) -> Self {
        Self::new("grpc.tls.handshake.result", result.as_str())
    }
}

/// Classifies the result of a handshake by tokio-rustls. Its caller reports a timeout as
/// [`HandshakeResult::HandshakeTimeout`].
impl<T> From<&io::Result<T>> for HandshakeResult {
    fn from(result: &io::Result<T>) -> Self {
        let Err(error) = result else { return Self::Success };
        let tls = error.get_ref().and_then(|error| error.downcast_ref::<Error>());
        match (tls, error.kind()) {
            (Some(error), _) => of_tls(error),
            (
                None,
                io::ErrorKind::UnexpectedEof
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::ConnectionAborted
                | io::ErrorKind::BrokenPipe,
            ) => Self::PeerConnectionClosed,
            (None, _) => Self::UnknownFailure,
        }
    }
}

fn of_tls(error: &Error) -> HandshakeResult {
    match error {
        Error::InvalidCertificate(error) => of_certificate(error),
        Error::NoCertificatesPresented => HandshakeResult::CertificateVerificationFailed,
        Error::AlertReceived(alert) => of_alert(*alert),
        Error::NoApplicationProtocol => HandshakeResult::NoApplicationProtocol,
        Error::DecryptError => HandshakeResult::DecryptionFailed,
        Error::InappropriateMessage { .. }
        | Error::InappropriateHandshakeMessage { .. }
        | Error::InvalidMessage(_) => HandshakeResult::UnexpectedMessage,
        Error::PeerIncompatible(Peer::NoCipherSuitesInCommon) => HandshakeResult::CipherSuiteMismatch,
        Error::PeerIncompatible(Peer::NoKxGroupsInCommon) => HandshakeResult::KeyExchangeFailure,
        Error::PeerIncompatible(
            Peer::ServerDoesNotSupportTls12Or13
            | Peer::SupportedVersionsExtensionRequired
            | Peer::Tls12NotOffered
            | Peer::Tls12NotOfferedOrEnabled
            | Peer::Tls13RequiredForQuic,
        ) => HandshakeResult::ProtocolVersionUnsupported,
        _ => HandshakeResult::UnknownFailure,
    }
}

fn of_certificate(error: &Certificate) -> HandshakeResult {
    match error {
        Certificate::Expired | Certificate::ExpiredContext { .. } => HandshakeResult::CertificateExpired,
        Certificate::NotValidYet | Certificate::NotValidYetContext { .. } => {
            HandshakeResult::CertificateNotYetValid
        }
        Certificate::Revoked => HandshakeResult::CertificateRevoked,
        Certificate::UnknownIssuer => HandshakeResult::CertificateAuthorityInvalid,
        Certificate::NotValidForName | Certificate::NotValidForNameContext { .. } => {
            HandshakeResult::CertificateHostnameMismatch
        }
        Certificate::BadEncoding => HandshakeResult::CertificateMalformed,
        Certificate::BadSignature => HandshakeResult::SignatureVerificationFailed,
        _ => HandshakeResult::CertificateVerificationFailed,
    }
}

/// Classifies an alert that the peer has sent.
fn of_alert(alert: Alert) -> HandshakeResult {
    match alert {
        Alert::CertificateExpired => HandshakeResult::CertificateExpired,
        Alert::CertificateRevoked => HandshakeResult::CertificateRevoked,
        Alert::UnknownCA => HandshakeResult::CertificateAuthorityInvalid,
        Alert::BadCertificate
        | Alert::CertificateRequired
        | Alert::CertificateUnknown
        | Alert::UnsupportedCertificate => HandshakeResult::CertificateVerificationFailed,
        Alert::ProtocolVersion => HandshakeResult::ProtocolVersionUnsupported,
        Alert::InappropriateFallback => HandshakeResult::InappropriateFallback,
        Alert::NoApplicationProtocol => HandshakeResult::NoApplicationProtocol,
        Alert::DecryptError | Alert::DecryptionFailed => HandshakeResult::DecryptionFailed,
        Alert::UnexpectedMessage => HandshakeResult::UnexpectedMessage,
        _ => HandshakeResult::UnknownFailure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(error: Error) -> &'static str {
        HandshakeResult::from(&Err::<(), _>(io::Error::new(io::ErrorKind::InvalidData, error))).as_str()
    }

    #[test]
    fn handshake_errors_map_to_a118_results() {
        assert_eq!(HandshakeResult::from(&Ok(())).as_str(), "SUCCESS");
        let closed = io::Error::from(io::ErrorKind::UnexpectedEof);
        assert_eq!(HandshakeResult::from(&Err::<(), _>(closed)).as_str(), "PEER_CONNECTION_CLOSED");
        assert_eq!(result(Certificate::UnknownIssuer.into()), "CERTIFICATE_AUTHORITY_INVALID");
        assert_eq!(result(Error::AlertReceived(Alert::CertificateExpired)), "CERTIFICATE_EXPIRED");
        assert_eq!(result(Peer::NoCipherSuitesInCommon.into()), "CIPHER_SUITE_MISMATCH");
        assert_eq!(result(Error::General("other".into())), "UNKNOWN_FAILURE");
    }

    #[test]
    fn values_spell_the_names_of_their_variants() {
        for result in HandshakeResult::ALL {
            assert_eq!(result.as_str().replace('_', ""), format!("{result:?}").to_uppercase());
        }
    }
}
