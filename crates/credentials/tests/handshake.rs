//! Who gets in: certificates that are good, missing, expired, of another CA or for another purpose.

mod common;

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use common::{Secret, Seen, anonymous, call, client_pair, serve, server_pair};
use kelvin_credentials::{
    ClientAuth, ClientFiles, ClientTls, Role, SecretFiles, ServerFiles, ServerTls, StoreSecrets, TlsError,
    ca::{LocalCa, Pair, Usage},
};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

/// A client that shows `pair` whatever our own checks think of it.
fn careless_client(ca: &LocalCa, pair: &Pair) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca.pem().as_bytes()).unwrap()).unwrap();
    let chain = vec![CertificateDer::from_pem_slice(pair.cert.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".into()];
    Arc::new(config)
}

fn expired() -> std::ops::Range<SystemTime> {
    let day = Duration::from_hours(24);
    SystemTime::now() - 2 * day..SystemTime::now() - day
}

#[tokio::test]
async fn client_certificates_are_ignored_asked_for_or_required() {
    let ca = LocalCa::generate().unwrap();
    let server = Secret::pair(&server_pair(&ca), &ca.pem());
    let client = Secret::pair(&client_pair(&ca), &ca.pem());
    let nobody = anonymous(&server.path("ca.crt")).config();
    let sensor = client.client().unwrap().config();

    for (client_auth, of_sensor, of_nobody) in [
        (ClientAuth::None, Seen::NoCertificate, Some(Seen::NoCertificate)),
        (ClientAuth::Optional, Seen::MayAuthenticate, Some(Seen::NoCertificate)),
        (ClientAuth::Required, Seen::MayAuthenticate, None),
    ] {
        let address = serve(server.server(client_auth).unwrap()).await;
        assert_eq!(call(address, sensor.clone()).await.unwrap().0, of_sensor, "{client_auth:?}");
        assert_eq!(
            call(address, nobody.clone()).await.ok().map(|(seen, _)| seen),
            of_nobody,
            "{client_auth:?}"
        );
    }
}

#[tokio::test]
async fn bad_client_certificate_is_refused_even_when_optional() {
    let ca = LocalCa::generate().unwrap();
    let other = LocalCa::generate().unwrap();
    let address =
        serve(Secret::pair(&server_pair(&ca), &ca.pem()).server(ClientAuth::Optional).unwrap()).await;

    let expired = ca.issue_valid(Usage::Client, &["sensor"], &expired()).unwrap();
    for (pair, reason) in [
        (expired, "CertificateExpired"),
        (client_pair(&other), "DecryptError"),
        (server_pair(&ca), "UnsupportedCertificate"),
    ] {
        let error = call(address, careless_client(&ca, &pair)).await.unwrap_err().to_string();
        assert!(error.contains(reason), "{error} should name {reason}");
    }
}

#[tokio::test]
async fn certificate_without_usage_does_not_authenticate() {
    let ca = LocalCa::generate().unwrap();
    let address =
        serve(Secret::pair(&server_pair(&ca), &ca.pem()).server(ClientAuth::Required).unwrap()).await;

    let unstated = ca.issue(Usage::Unspecified, &["another-program"]).unwrap();
    let client = Secret::pair(&unstated, &ca.pem()).client().unwrap();
    assert_eq!(call(address, client.config()).await.unwrap().0, Seen::Certificate);
}

#[tokio::test]
async fn server_of_other_ca_or_name_is_rejected() {
    let ca = LocalCa::generate().unwrap();
    let other = LocalCa::generate().unwrap();
    let trusting = anonymous(&Secret::new(&[("ca.crt", &ca.pem())]).path("ca.crt")).config();

    for (pair, reason) in [
        (server_pair(&other), "invalid peer certificate: BadSignature"),
        (ca.issue(Usage::Server, &["elsewhere"]).unwrap(), "certificate not valid for name \"localhost\""),
    ] {
        let address = serve(Secret::pair(&pair, &ca.pem()).server(ClientAuth::None).unwrap()).await;
        let error = call(address, trusting.clone()).await.unwrap_err().to_string();
        assert!(error.contains(reason), "{error} should contain {reason}");
    }
}

#[test]
fn files_that_cannot_serve_are_refused_by_name() {
    let ca = LocalCa::generate().unwrap();
    let pair = server_pair(&ca);
    let error = |pair: &Pair, ca: &str| Secret::pair(pair, ca).server(ClientAuth::Required).unwrap_err();

    let expired = ca.issue_valid(Usage::Server, &["localhost"], &expired()).unwrap();
    assert!(matches!(error(&expired, &ca.pem()), TlsError::NotValidNow { .. }));
    let mixed = Pair { cert: pair.cert.clone(), key: server_pair(&ca).key };
    assert!(matches!(error(&mixed, &ca.pem()), TlsError::Mismatch { .. }));
    let broken = Pair { cert: pair.cert.replace("BEGIN", "BEGUN"), key: pair.key.clone() };
    assert!(
        error(&broken, &ca.pem()).to_string().contains("tls.crt: section 1: base64 outside of a section")
    );
    assert!(error(&pair, "").to_string().ends_with("ca.crt: contains no certificate in PEM"));

    for (names, usage, reason) in [
        (
            &["localhost"][..],
            Usage::Client,
            "tls.crt: section 1: the server's certificate has an extended key usage",
        ),
        (&[], Usage::Server, "tls.crt: section 1: the server's certificate has no subject alternative name"),
    ] {
        let text = error(&ca.issue(usage, names).unwrap(), &ca.pem()).to_string();
        assert!(text.contains(reason), "{text}");
    }

    // What stands in a key file is never repeated.
    let secret = "-----BEGIN PRIVATE KEY-----\nhush\n-----END PRIVATE KEY";
    let keyless = Pair { cert: pair.cert.clone(), key: secret.into() };
    let text = format!("{0} {0:?}", error(&keyless, &ca.pem()));
    assert!(text.contains("section 1: a BEGIN or END line is malformed") && !text.contains("hush"), "{text}");
    assert!(!format!("{pair:?}").contains("PRIVATE"));
}

#[test]
fn files_must_go_together() {
    let ca = LocalCa::generate().unwrap();
    let secret = Secret::pair(&server_pair(&ca), &ca.pem());
    let [cert, key, ca] = ["tls.crt", "tls.key", "ca.crt"].map(|name| secret.path(name));

    let files = ServerFiles { cert: cert.clone(), key, external: None, client_ca: None };
    assert!(matches!(ServerTls::load(files.clone(), ClientAuth::Optional), Err(TlsError::NoClientCa)));
    ServerTls::load(files, ClientAuth::None).unwrap();
    let files = ClientFiles { ca: Some(ca), cert: Some(cert), key: None };
    assert!(matches!(ClientTls::load(files), Err(TlsError::IncompletePair)));
}

#[test]
fn all_files_at_fault_are_named() {
    let secret = Secret::new(&[("tls.crt", "junk"), ("store-ca.crt", "junk")]);
    let path = |name| secret.path(name);
    let server = ServerFiles {
        cert: path("tls.crt"),
        key: path("tls.key"),
        external: Some((path("external.crt"), path("external.key"))),
        client_ca: Some(path("ca.crt")),
    };
    let store = SecretFiles {
        password: Some(path("password")),
        ca: Some(path("store-ca.crt")),
        cert: Some(path("store.crt")),
        key: Some(path("store.key")),
    };
    let client =
        ClientFiles { ca: Some(path("ca.crt")), cert: Some(path("tls.crt")), key: Some(path("tls.key")) };
    let roles = |error: TlsError| error.each().iter().map(TlsError::role).collect::<Vec<_>>();
    assert_eq!(
        roles(ServerTls::load(server, ClientAuth::Required).unwrap_err()),
        [Role::Ca, Role::Certificate, Role::Key, Role::ExternalCertificate, Role::ExternalKey]
    );
    assert_eq!(
        roles(StoreSecrets::load(store).unwrap_err()),
        [Role::Password, Role::Ca, Role::Certificate, Role::Key]
    );
    assert_eq!(roles(ClientTls::load(client).unwrap_err()), [Role::Ca, Role::Certificate, Role::Key]);
}
