//! How TLS handshakes end, in the words of gRFC A118.

use std::io;

use rustls::{AlertDescription as Alert, CertificateError as Certificate, Error, PeerIncompatible as Peer};

/// `grpc.tls.handshake.result` of a handshake that did not end in time.
pub const HANDSHAKE_TIMEOUT: &str = "HANDSHAKE_TIMEOUT";

const UNKNOWN: &str = "UNKNOWN_FAILURE";
const VERIFICATION_FAILED: &str = "CERTIFICATE_VERIFICATION_FAILED";
const VERSION_UNSUPPORTED: &str = "PROTOCOL_VERSION_UNSUPPORTED";

/// Returns `grpc.tls.handshake.result` (gRFC A118) of a handshake as tokio-rustls reports it.
#[must_use]
pub fn handshake_result<T>(result: &io::Result<T>) -> &'static str {
    let Err(error) = result else { return "SUCCESS" };
    let tls = error.get_ref().and_then(|error| error.downcast_ref::<Error>());
    match (tls, error.kind()) {
        (Some(error), _) => of_tls(error),
        (
            None,
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe,
        ) => "PEER_CONNECTION_CLOSED",
        (None, _) => UNKNOWN,
    }
}

fn of_tls(error: &Error) -> &'static str {
    match error {
        Error::InvalidCertificate(error) => of_certificate(error),
        Error::NoCertificatesPresented => VERIFICATION_FAILED,
        Error::AlertReceived(alert) => of_alert(*alert),
        Error::NoApplicationProtocol => "NO_APPLICATION_PROTOCOL",
        Error::DecryptError => "DECRYPTION_FAILED",
        Error::InappropriateMessage { .. }
        | Error::InappropriateHandshakeMessage { .. }
        | Error::InvalidMessage(_) => "UNEXPECTED_MESSAGE",
        Error::PeerIncompatible(Peer::NoCipherSuitesInCommon) => "CIPHER_SUITE_MISMATCH",
        Error::PeerIncompatible(Peer::NoKxGroupsInCommon) => "KEY_EXCHANGE_FAILURE",
        Error::PeerIncompatible(
            Peer::ServerDoesNotSupportTls12Or13
            | Peer::SupportedVersionsExtensionRequired
            | Peer::Tls12NotOffered
            | Peer::Tls12NotOfferedOrEnabled
            | Peer::Tls13RequiredForQuic,
        ) => VERSION_UNSUPPORTED,
        _ => UNKNOWN,
    }
}

fn of_certificate(error: &Certificate) -> &'static str {
    match error {
        Certificate::Expired | Certificate::ExpiredContext { .. } => "CERTIFICATE_EXPIRED",
        Certificate::NotValidYet | Certificate::NotValidYetContext { .. } => "CERTIFICATE_NOT_YET_VALID",
        Certificate::Revoked => "CERTIFICATE_REVOKED",
        Certificate::UnknownIssuer => "CERTIFICATE_AUTHORITY_INVALID",
        Certificate::NotValidForName | Certificate::NotValidForNameContext { .. } => {
            "CERTIFICATE_HOSTNAME_MISMATCH"
        }
        Certificate::BadEncoding => "CERTIFICATE_MALFORMED",
        Certificate::BadSignature => "SIGNATURE_VERIFICATION_FAILED",
        _ => VERIFICATION_FAILED,
    }
}

/// What the peer says of our part.
fn of_alert(alert: Alert) -> &'static str {
    match alert {
        Alert::CertificateExpired => "CERTIFICATE_EXPIRED",
        Alert::CertificateRevoked => "CERTIFICATE_REVOKED",
        Alert::UnknownCA => "CERTIFICATE_AUTHORITY_INVALID",
        Alert::BadCertificate
        | Alert::CertificateRequired
        | Alert::CertificateUnknown
        | Alert::UnsupportedCertificate => VERIFICATION_FAILED,
        Alert::ProtocolVersion => VERSION_UNSUPPORTED,
        Alert::InappropriateFallback => "INAPPROPRIATE_FALLBACK",
        Alert::NoApplicationProtocol => "NO_APPLICATION_PROTOCOL",
        Alert::DecryptError | Alert::DecryptionFailed => "DECRYPTION_FAILED",
        Alert::UnexpectedMessage => "UNEXPECTED_MESSAGE",
        _ => UNKNOWN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(error: Error) -> &'static str {
        handshake_result::<()>(&Err(io::Error::new(io::ErrorKind::InvalidData, error)))
    }

    #[test]
    fn results_are_the_words_of_a118() {
        assert_eq!(handshake_result(&Ok(())), "SUCCESS");
        let closed = io::Error::from(io::ErrorKind::UnexpectedEof);
        assert_eq!(handshake_result::<()>(&Err(closed)), "PEER_CONNECTION_CLOSED");
        assert_eq!(result(Certificate::UnknownIssuer.into()), "CERTIFICATE_AUTHORITY_INVALID");
        assert_eq!(result(Error::AlertReceived(Alert::CertificateExpired)), "CERTIFICATE_EXPIRED");
        assert_eq!(result(Peer::NoCipherSuitesInCommon.into()), "CIPHER_SUITE_MISMATCH");
        assert_eq!(result(Error::General("other".into())), "UNKNOWN_FAILURE");
    }
}
