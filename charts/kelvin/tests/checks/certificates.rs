//! Certificates and the Secrets that hold them.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::{
    helm,
    object::{Object, all, find, pod, variable},
};

#[test]
fn client_address_is_a_name_of_the_server_certificate() {
    for arguments in [&["--set", "clusterDomain=example.org"][..], &["--set", "fullnameOverride=other"], &[]]
    {
        let Some(objects) = helm::render(arguments) else { return };
        let prefix = if arguments.contains(&"fullnameOverride=other") { "other" } else { "kelvin" };
        let server =
            variable(&objects, &format!("{prefix}-client-unary"), "KELVIN_SERVER").expect("it is set");
        let host = server
            .strip_prefix("https://")
            .and_then(|rest| rest.strip_suffix(":50051"))
            .expect("host and port");
        let names = find(&objects, "Certificate", &format!("{prefix}-server")).at("/spec/dnsNames").clone();
        assert!(names.as_array().expect("names").contains(&json!(host)), "{host} is not in {names}");
        let service = host.split('.').next().expect("a name");
        assert_eq!(find(&objects, "Service", service).at("/spec/clusterIP"), "None");
    }
}

/// Whatever is mounted exists: a certificate's Secret, or one that the values name.
#[test]
fn mounted_secrets_exist() {
    for (values, known) in [
        ("default", &["kelvin-tokens"][..]),
        ("valkey", &["kelvin-tokens", "valkey"]),
        ("valkey-cluster", &["kelvin-tokens", "valkey-ca"]),
        ("strict", &["trusted-ca", "tokens"]),
        ("bare", &["kelvin-tokens"]),
        ("collector", &["kelvin-tokens", "otlp-ca"]),
        ("external", &["kelvin-tokens"]),
        (
            "existing-secrets",
            &["server-certificate", "client-certificate", "public-certificate", "trusted-ca", "tokens"],
        ),
        ("no-cert-manager", &["kelvin-tokens", "server-certificate"]),
    ] {
        let Some(objects) = helm::render_ci(values) else { return };
        let issued = all(&objects, "Certificate").map(|certificate| certificate.text("/spec/secretName"));
        let there: BTreeSet<_> = issued.chain(known.iter().copied()).collect();
        let pods: Vec<_> = objects.iter().filter_map(Object::pod).collect();
        let mounted: BTreeSet<_> = pods
            .iter()
            .flat_map(|pod| pod.at("/spec/volumes").as_array().expect("volumes"))
            .map(|volume| volume["secret"]["secretName"].as_str().expect("all volumes are Secrets"))
            .collect();
        assert!(mounted.is_subset(&there), "{mounted:?} with {values}, where {there:?} exist");
        assert!(
            known.iter().all(|secret| mounted.contains(secret)),
            "{known:?} are not all mounted: {mounted:?}"
        );
    }
}

#[test]
fn certificates_have_their_usage() {
    let Some(objects) = helm::render(&[]) else { return };
    for certificate in all(&objects, "Certificate") {
        assert_eq!(certificate.at("/spec/privateKey/algorithm"), "ECDSA");
        let (usages, rotation) = match certificate.name() {
            "kelvin-ca" => (Value::Null, "Never"),
            "kelvin-server" => (json!(["digital signature", "server auth"]), "Always"),
            _ => (json!(["digital signature", "client auth"]), "Always"),
        };
        assert_eq!(certificate.at("/spec/usages"), &usages, "{}", certificate.name());
        assert_eq!(certificate.at("/spec/privateKey/rotationPolicy"), rotation, "{}", certificate.name());
    }
    assert_eq!(find(&objects, "Certificate", "kelvin-ca").at("/spec/isCA"), true);
}

#[test]
fn issuer_reference_replaces_own_ca() {
    let Some(objects) = helm::render_ci("valkey") else { return };
    assert_eq!(all(&objects, "Issuer").count(), 0);
    for certificate in all(&objects, "Certificate") {
        assert_eq!(certificate.at("/spec/issuerRef"), &json!({"name": "kelvin-ca", "kind": "ClusterIssuer"}));
    }
}

#[test]
fn existing_secrets_replace_cert_manager() {
    for values in ["existing-secrets", "no-cert-manager"] {
        let Some(objects) = helm::render_ci(values) else { return };
        let issued =
            objects.iter().filter(|object| object.text("/apiVersion").starts_with("cert-manager.io/"));
        assert_eq!(issued.count(), 0, "{values}");
    }
}

#[test]
fn token_only_clients_have_the_ca_and_no_key() {
    let Some(objects) = helm::render_ci("no-cert-manager") else { return };
    let client = pod(&objects, "kelvin-client-unary");
    let volumes = client.at("/spec/volumes").as_array().expect("volumes");
    let tls = volumes.iter().find(|volume| volume["name"] == "tls").expect("the CA is mounted");
    assert_eq!(tls["secret"]["items"], json!([{"key": "ca.crt", "path": "ca.crt"}]));
    let environment = client.environment();
    assert_eq!(environment["KELVIN_TLS_CA"], "/etc/kelvin/tls/ca.crt");
    assert!(!environment.contains_key("KELVIN_TLS_CERT") && !environment.contains_key("KELVIN_TLS_KEY"));
}

#[test]
fn external_certificate_has_public_names_only() {
    let Some(objects) = helm::render_ci("external") else { return };
    let certificate = find(&objects, "Certificate", "kelvin-server-external");
    assert_eq!(certificate.at("/spec/dnsNames"), &json!(["sensors.example.org"]));
    assert_eq!(certificate.at("/spec/ipAddresses"), &Value::Null);
    assert_eq!(certificate.at("/spec/issuerRef"), &json!({"name": "acme", "kind": "ClusterIssuer"}));
    assert_eq!(certificate.at("/spec/duration"), &Value::Null, "ACME decides");
    let inside = find(&objects, "Certificate", "kelvin-server");
    assert_eq!(inside.at("/spec/issuerRef/name"), "kelvin-ca");
    for (name, file) in [("CERT", "tls.crt"), ("KEY", "tls.key")] {
        let path = variable(&objects, "kelvin-server", &format!("KELVIN_TLS_EXTERNAL_{name}"));
        assert_eq!(path, Some(format!("/etc/kelvin/tls-external/{file}")));
    }
}

#[test]
fn ip_addresses_are_subject_alternative_names() {
    let Some(objects) = helm::render(&["--set", "tls.ipAddresses={192.0.2.1}"]) else { return };
    let server = find(&objects, "Certificate", "kelvin-server");
    assert_eq!(server.at("/spec/ipAddresses"), &json!(["127.0.0.1", "::1", "192.0.2.1"]));
    let Some(objects) = helm::render_ci("ipv6") else { return };
    let external = find(&objects, "Certificate", "kelvin-server-external");
    assert_eq!(external.at("/spec/ipAddresses"), &json!(["2001:db8::5", "192.0.2.5"]));
}
