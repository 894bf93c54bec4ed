//! PEM files as people make them, and as they break them: a file is read whole or rejected.

mod common;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use common::{Secret, client_pair, server_pair};
use kelvin_credentials::{
    ClientAuth, ClientFiles, ClientTls, SecretFiles, ServerFiles, ServerTls, StoreSecrets,
    ca::{LocalCa, Pair, Usage},
};
use proptest::prelude::*;

/// Loads `bundle` as a CA bundle, as a server and as a store client would.
fn load_bundle(bundle: &str) -> Result<usize, String> {
    let secret = Secret::new(&[("ca.crt", bundle)]);
    let files = SecretFiles { password: None, ca: Some(secret.path("ca.crt")), cert: None, key: None };
    let store = StoreSecrets::load(files).map_err(|error| error.to_string());
    let files = ClientFiles { ca: Some(secret.path("ca.crt")), ..ClientFiles::default() };
    let client = ClientTls::load(files).map_err(|error| error.to_string());
    assert_eq!(store.as_ref().err(), client.as_ref().err(), "all loaders agree");
    let written = String::from_utf8(store?.current().ca.clone().unwrap()).unwrap();
    Ok(written.matches("BEGIN CERTIFICATE").count())
}

fn load_pair(pair: &Pair) -> Result<(), String> {
    let secret = Secret::pair(pair, "");
    let [cert, key] = ["tls.crt", "tls.key"].map(|name| secret.path(name));
    let files = ServerFiles { cert, key, external: None, client_ca: None };
    ServerTls::load(files, ClientAuth::None).map(drop).map_err(|error| error.to_string())
}

fn two() -> [String; 2] {
    [LocalCa::generate().unwrap().pem(), LocalCa::generate().unwrap().pem()]
}

#[test]
fn well_formed_variants_are_read_whole() {
    let [one, other] = two();
    for (case, bundle) in [
        ("plain", format!("{one}{other}")),
        (
            "explanatory text",
            format!("subject=CN = one\n\n{one}# the other: key=value\n{other}\nend of file"),
        ),
        (
            "dashes and the words begin and end",
            format!(
                "# --- end of the old list, new below ---\n{one}----- END OF ONE -----\nBegin -- other\n\
                 # the end certificate -----\n# THE PRIVATE KEY IS ELSEWHERE\n{other}---------- the end ----------"
            ),
        ),
        (
            "output of openssl",
            format!(
                "Certificate:\n    Data:\n        Serial Number:\n            26:f5:84:23:89:c0:4c:89\n\
                 Modulus={}\nSHA1 Fingerprint=AB:CD\n{one}    localKeyID: 01 02\n{other}",
                "C0".repeat(128)
            ),
        ),
        ("byte order marks", format!("\u{feff}{one}\u{feff}{other}")),
        ("CRLF", format!("{one}{other}").replace('\n', "\r\n")),
        ("no line break at the end", format!("{one}{}", other.trim_end())),
        ("indented", format!("{one}{other}").replace('\n', "  \n\t")),
        ("one line of base64", {
            let body: String = other.lines().filter(|line| !line.starts_with('-')).collect();
            format!("{one}-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n")
        }),
    ] {
        assert_eq!(load_bundle(&bundle), Ok(2), "{case}");
    }
}

#[test]
fn malformed_bundle_is_rejected_with_section_and_reason() {
    let [one, other] = two();
    let key = server_pair(&LocalCa::generate().unwrap()).key;
    let shares = "a BEGIN or END line is malformed or shares its line with other text";
    let alone = "base64 outside of a section";
    for (bundle, section, reason) in [
        (format!("{}{other}", one.trim_end()), 1, shares),
        (format!("comment {one}{other}"), 1, shares),
        (format!("{one}{}", other.replacen("-----BEGIN", "----BEGIN", 1)), 2, shares),
        (format!("{one}{}", &other[..other.len() / 2]), 2, "has no END line"),
        (format!("{}{other}", &one[..one.len() / 2]), 1, shares),
        (format!("{}\n{other}", &one[..one.len() / 2]), 1, "another section begins before it ends"),
        (format!("{one}{}", other.replacen("BEGIN", "BEGUN", 1)), 2, alone),
        (format!("{one}-----END CERTIFICATE-----\n"), 2, "END without BEGIN"),
        (format!("{one}{}", other.replace("-----", "\u{2013}\u{2013}\u{2014}")), 2, shares),
        (format!("{one}{}", other.replace("-----", "")), 2, shares),
        (format!("{one}{}", other.replace("-----", "----- ")), 2, shares),
        (format!("{one}{}", other.replace("-----", "\u{2014}").replace("N C", "N\u{a0}C")), 2, alone),
        (format!("{one}{}", without_boundaries(&other)), 2, alone),
        (format!("{one}{}", without_boundaries(&other).replace('\n', " ")), 2, alone),
        (format!("{one}{}\n", STANDARD.encode(&other)), 2, alone),
        (format!("{one}{}", other.replacen("-----END", "-----FIN", 1)), 2, "has no END line"),
        (format!("{one}{}", other.replacen("MII", "M!I", 1)), 2, "invalid base64"),
        (format!("{one}{}", other.replacen("MII", "AAA", 1)), 2, "not a valid X.509 certificate"),
        (format!("{one}{key}"), 2, "unexpected label \"PRIVATE KEY\""),
        (format!("{one}{}", other.replace("CERTIFICATE", "X509 CRL")), 2, "unexpected label \"X509 CRL\""),
        (format!("{one}-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"), 2, "is empty"),
    ] {
        let error = load_bundle(&bundle).unwrap_err();
        assert!(error.contains(&format!("ca.crt: section {section}: ")) && error.contains(reason), "{error}");
    }
}

fn without_boundaries(pem: &str) -> String {
    pem.lines().filter(|line| !line.starts_with('-')).fold(String::new(), |text, line| text + line + "\n")
}

#[test]
fn utf_16_is_rejected() {
    let [one, other] = two();
    // As `>>` of PowerShell 5.1 appends.
    let utf_16: String = other.chars().flat_map(|char| [char, '\0']).collect();
    for bundle in [format!("{one}{utf_16}"), utf_16, format!("{one}\0\0")] {
        assert!(load_bundle(&bundle).unwrap_err().contains("contains NUL bytes"));
    }
}

#[test]
fn password_is_one_line_without_control_characters() {
    let load = |content: &str| {
        let secret = Secret::new(&[("password", content)]);
        let files = SecretFiles { password: Some(secret.path("password")), ca: None, cert: None, key: None };
        let store = StoreSecrets::load(files).map_err(|error| error.to_string())?;
        Ok::<_, String>(store.current().password.clone().unwrap())
    };
    for (content, password) in [
        ("hush", "hush"),
        ("\u{feff}hush\r\n", "hush"),
        (" two words \n\n", " two words"),
        ("h\u{fc}sh", "h\u{fc}sh"),
    ] {
        assert_eq!(load(content).as_deref(), Ok(password));
    }
    for (content, reason) in [
        ("\u{feff}\n", "contains no password"),
        ("hush\nhush\n", "contains a line break"),
        ("hush\rhush", "contains a line break"),
        ("hush\0", "another control character"),
        ("hu\tsh", "another control character"),
    ] {
        let error = load(content).unwrap_err();
        assert!(error.contains(reason) && !error.contains("hush"), "{error}");
    }
}

#[test]
fn keys_are_named_by_what_is_wrong_with_them() {
    let ca = LocalCa::generate().unwrap();
    let pair = server_pair(&ca);
    let with = |key: String| load_pair(&Pair { cert: pair.cert.clone(), key });
    let curve = "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n";
    assert_eq!(with(format!("{curve}{}", pair.key)), Ok(()));
    for (key, reason) in [
        (pair.key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY"), "the private key is encrypted"),
        (
            "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAAAA\n\
             -----END RSA PRIVATE KEY-----\n"
                .into(),
            "the private key is encrypted",
        ),
        (format!("{0}{0}", pair.key), "section 2: a second private key"),
        (curve.into(), "contains no private key"),
        (format!("{}{}", pair.key, pair.cert), "section 2: unexpected label \"CERTIFICATE\""),
    ] {
        let error = with(key).unwrap_err();
        assert!(error.contains("tls.key: ") && error.contains(reason), "{error}");
    }
    let ca_pair = Pair { cert: ca.pem(), key: ca.key_pem() };
    let error = load_pair(&ca_pair).unwrap_err();
    assert!(error.contains("CA:TRUE"), "{error}");
}

#[test]
fn chain_keeps_every_certificate_for_the_store() {
    let ca = LocalCa::generate().unwrap();
    let pair = client_pair(&ca);
    let secret =
        Secret::new(&[("tls.crt", &format!("\u{feff}{}{}", pair.cert, ca.pem())), ("tls.key", &pair.key)]);
    let [cert, key] = ["tls.crt", "tls.key"].map(|name| Some(secret.path(name)));
    let store = StoreSecrets::load(SecretFiles { password: None, ca: None, cert, key }).unwrap();
    let (chain, key) = store.current().pair.clone().unwrap();
    assert_eq!(String::from_utf8(chain).unwrap(), format!("{}{}", pair.cert, ca.pem()).replace("\r\n", "\n"));
    assert!(key.starts_with(b"-----BEGIN PRIVATE KEY-----\n"));
}

#[tokio::test]
async fn server_name_selects_the_certificate() {
    let ca = LocalCa::generate().unwrap();
    let issue = |names: &[&str]| ca.issue(Usage::Server, names).unwrap();
    for (external_names, without_a_match) in
        [(vec!["kelvin.example"], "localhost"), (vec!["kelvin.example", "192.0.2.7"], "kelvin.example")]
    {
        let (internal, external) = (issue(&["localhost"]), issue(&external_names));
        let secret = Secret::new(&[
            ("tls.crt", &internal.cert),
            ("tls.key", &internal.key),
            ("external.crt", &external.cert),
            ("external.key", &external.key),
            ("ca.crt", &ca.pem()),
        ]);
        let files = ServerFiles {
            cert: secret.path("tls.crt"),
            key: secret.path("tls.key"),
            external: Some((secret.path("external.crt"), secret.path("external.key"))),
            client_ca: None,
        };
        let address = common::serve(ServerTls::load(files, ClientAuth::None).unwrap()).await;
        let client = common::anonymous(&secret.path("ca.crt")).config();
        for (asked, presented) in [
            ("localhost", "localhost"),
            ("kelvin.example", "kelvin.example"),
            ("other.example", without_a_match),
            ("192.0.2.7", without_a_match),
        ] {
            let accepted = common::call_as(address, client.clone(), asked).await;
            let covers = if presented == "localhost" { &internal } else { &external };
            match accepted {
                Ok((_, shown)) => assert_eq!(shown, common::der(covers), "{asked}"),
                // The client itself rejects a certificate of another name, and says which names it has.
                Err(error) => assert!(error.to_string().contains(presented), "{asked}: {error}"),
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Whatever one byte becomes, both certificates are read, or the file is rejected: none is lost.
    #[test]
    fn changed_byte_never_loses_a_certificate(at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<bool>()) {
        let [one, other] = two();
        let mut bundle = format!("{one}{other}").into_bytes();
        let at = at.index(bundle.len());
        if cut {
            bundle.remove(at);
        } else {
            bundle[at] = byte;
        }
        if let Ok(bundle) = String::from_utf8(bundle)
            && let Ok(count) = load_bundle(&bundle)
        {
            prop_assert_eq!(count, 2);
        }
    }

    #[test]
    fn any_bytes_are_read_or_rejected(bytes in prop::collection::vec(any::<u8>(), 0..400), line in "(-----BEGIN |-----END |CERTIFICATE|-----|\n|[A-Za-z0-9+/=]{0,8}){0,24}") {
        let _ = load_bundle(&String::from_utf8_lossy(&bytes));
        let _ = load_bundle(&line);
    }
}
