//! What values become.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::{
    helm,
    object::{Object, all, find, selects},
};

const KINDS: [&str; 4] = ["unary", "client-streaming", "server-streaming", "bidi-streaming"];

fn with_values(name: &str) -> Option<Vec<Object>> {
    let values = helm::chart().join("ci").join(name);
    helm::render(&["--values", values.to_str().expect("a plain path")])
}

fn environment(objects: &[Object], deployment: &str, variable: &str) -> Option<String> {
    let pod = find(objects, "Deployment", deployment).pod().expect("a Deployment has a pod");
    pod.environment().get(variable).map(ToString::to_string)
}

#[test]
fn four_clients_come_from_one_template() {
    let Some(objects) = helm::render(&[]) else { return };
    // With its own name put back, each is the same but for the kind of call.
    let shapes: BTreeSet<_> = KINDS
        .iter()
        .map(|kind| {
            find(&objects, "Deployment", &format!("kelvin-client-{kind}")).0.to_string().replace(kind, "KIND")
        })
        .collect();
    assert_eq!(shapes.len(), 1, "{shapes:#?}");
    assert_eq!(all(&objects, "Deployment").count(), 1 + KINDS.len());
}

#[test]
fn a_client_takes_its_own_values_before_those_of_all() {
    let Some(objects) = with_values("bare-values.yaml") else { return };
    let unary = find(&objects, "Deployment", "kelvin-client-unary");
    assert_eq!(unary.at("/spec/replicas"), 2);
    for (variable, value) in [("SENSORS", "100"), ("INTERVAL_MIN", "10ms"), ("DEADLINE", "2s")] {
        assert_eq!(
            environment(&objects, "kelvin-client-unary", &format!("KELVIN_{variable}")).as_deref(),
            Some(value)
        );
    }
    assert_eq!(environment(&objects, "kelvin-client-bidi-streaming", "KELVIN_DEADLINE"), None);
    let deployments: Vec<_> = all(&objects, "Deployment").map(Object::name).collect();
    assert_eq!(deployments, ["kelvin-client-bidi-streaming", "kelvin-client-unary", "kelvin-server"]);
}

#[test]
fn a_client_can_be_switched_to_nothing() {
    let Some(objects) = helm::render(&["--set", "clients.unary.replicas=0"]) else { return };
    assert_eq!(find(&objects, "Deployment", "kelvin-client-unary").at("/spec/replicas"), 0);
}

#[test]
fn clients_call_a_name_that_the_servers_certificate_has() {
    for arguments in [&["--set", "clusterDomain=example.org"][..], &["--set", "fullnameOverride=other"], &[]]
    {
        let Some(objects) = helm::render(arguments) else { return };
        let prefix = if arguments.contains(&"fullnameOverride=other") { "other" } else { "kelvin" };
        let server =
            environment(&objects, &format!("{prefix}-client-unary"), "KELVIN_SERVER").expect("it is set");
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

#[test]
fn services_lead_to_the_servers() {
    let Some(objects) = helm::render(&[]) else { return };
    let server = find(&objects, "Deployment", "kelvin-server").pod().expect("a pod");
    let client = find(&objects, "Deployment", "kelvin-client-unary").pod().expect("a pod");
    for service in ["kelvin-server", "kelvin-server-headless"] {
        let service = find(&objects, "Service", service);
        assert!(selects(service.at("/spec/selector"), &server.labels()));
        assert!(!selects(service.at("/spec/selector"), &client.labels()));
        let port = service.text("/spec/ports/0/targetPort");
        let ports = server.at("/spec/containers/0/ports").as_array().expect("ports");
        assert!(ports.iter().any(|known| known["name"] == port && known["containerPort"] == 50051));
    }
}

#[test]
fn a_drain_of_nodes_takes_one_server_at_a_time() {
    let Some(objects) = with_values("valkey-cluster-values.yaml") else { return };
    let budget = find(&objects, "PodDisruptionBudget", "kelvin-server");
    let server = find(&objects, "Deployment", "kelvin-server").pod().expect("a pod");
    assert!(selects(budget.at("/spec/selector"), &server.labels()));
    assert_eq!(budget.at("/spec/maxUnavailable"), 1);
    let spread = server.at("/spec/topologySpreadConstraints/0");
    assert!(selects(&spread["labelSelector"], &server.labels()), "servers spread over nodes: {spread}");
}

/// Whatever is mounted exists: a certificate's Secret, the tokens, or one that the values name.
#[test]
fn mounted_secrets_come_from_somewhere() {
    for (values, known) in [
        ("default-values.yaml", &[][..]),
        ("valkey-values.yaml", &["valkey"]),
        ("valkey-cluster-values.yaml", &["valkey-ca"]),
        ("strict-values.yaml", &["trusted-ca", "tokens"]),
        ("bare-values.yaml", &[]),
    ] {
        let Some(objects) = with_values(values) else { return };
        let issued = all(&objects, "Certificate").map(|certificate| certificate.text("/spec/secretName"));
        let made = all(&objects, "Secret").map(Object::name);
        let there: BTreeSet<_> = issued.chain(made).chain(known.iter().copied()).collect();
        for pod in objects.iter().filter_map(Object::pod) {
            for volume in pod.at("/spec/volumes").as_array().expect("volumes") {
                let secret = volume["secret"]["secretName"].as_str().expect("all volumes are Secrets");
                assert!(there.contains(secret), "{secret} is mounted with {values}, but comes from nowhere");
            }
        }
    }
}

#[test]
fn certificates_say_what_they_are_for() {
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
fn an_issuer_of_ones_own_replaces_the_ca() {
    let Some(objects) = with_values("valkey-values.yaml") else { return };
    assert_eq!(all(&objects, "Issuer").count(), 0);
    for certificate in all(&objects, "Certificate") {
        assert_eq!(certificate.at("/spec/issuerRef"), &json!({"name": "kelvin-ca", "kind": "ClusterIssuer"}));
    }
}

#[test]
fn servers_have_time_to_drain() {
    let arguments = ["--set", "server.drain.waitSeconds=7", "--set", "server.drain.timeoutSeconds=60"];
    let Some(objects) = helm::render(&arguments) else { return };
    let pod = find(&objects, "Deployment", "kelvin-server").pod().expect("a pod");
    assert_eq!(pod.at("/spec/terminationGracePeriodSeconds"), 77);
    assert_eq!(environment(&objects, "kelvin-server", "KELVIN_DRAIN_DELAY").as_deref(), Some("7s"));
    assert_eq!(environment(&objects, "kelvin-server", "KELVIN_DRAIN_TIMEOUT").as_deref(), Some("60s"));
}

#[test]
fn an_autoscaler_owns_the_number_of_servers() {
    let Some(objects) = with_values("valkey-values.yaml") else { return };
    assert!(find(&objects, "Deployment", "kelvin-server").at("/spec/replicas").is_null());
    let autoscaler = find(&objects, "HorizontalPodAutoscaler", "kelvin-server");
    assert_eq!(
        autoscaler.at("/spec/metrics/0/resource/target"),
        &json!({"type": "AverageValue", "averageValue": "200m"})
    );
    let Some(objects) = with_values("valkey-cluster-values.yaml") else { return };
    assert_eq!(find(&objects, "Deployment", "kelvin-server").at("/spec/replicas"), 3);
    assert_eq!(all(&objects, "HorizontalPodAutoscaler").count(), 0);
}

#[test]
fn the_store_is_reached_as_the_values_say() {
    let Some(objects) = with_values("valkey-values.yaml") else { return };
    for (variable, value) in [
        ("STORE", "valkey"),
        ("VALKEY_ADDRESS", "valkey.valkey.svc.cluster.local:6379"),
        ("VALKEY_CLUSTER", "false"),
        ("VALKEY_USERNAME", "kelvin"),
        ("VALKEY_PASSWORD_FILE", "/etc/kelvin/valkey/password"),
        ("VALKEY_TLS_CA", "/etc/kelvin/tls/ca.crt"),
        ("VALKEY_ACKNOWLEDGE", "fsync"),
    ] {
        let set = environment(&objects, "kelvin-server", &format!("KELVIN_{variable}"));
        assert_eq!(set.as_deref(), Some(value), "KELVIN_{variable}");
    }
    let Some(objects) = with_values("valkey-cluster-values.yaml") else { return };
    let ca = environment(&objects, "kelvin-server", "KELVIN_VALKEY_TLS_CA");
    assert_eq!(ca.as_deref(), Some("/etc/kelvin/valkey-tls/ca.pem"));
}

#[test]
fn each_pod_is_an_instance_of_its_own_in_telemetry() {
    let Some(objects) = helm::render(&[]) else { return };
    for deployment in all(&objects, "Deployment") {
        let pod = deployment.pod().expect("a Deployment has a pod");
        let environment = pod.environment();
        assert_eq!(environment["OTEL_SERVICE_NAME"], deployment.name());
        assert!(environment["OTEL_RESOURCE_ATTRIBUTES"].contains("service.instance.id=kelvin.$(POD_NAME)."));
        // Kubernetes puts in only what was named before.
        let names: Vec<_> = pod.at("/spec/containers/0/env").as_array().expect("variables").iter().collect();
        let place = |name: &str| names.iter().position(|variable| variable["name"] == name);
        assert!(place("POD_NAME") < place("OTEL_RESOURCE_ATTRIBUTES"));
    }
    let Some(objects) = with_values("bare-values.yaml") else { return };
    let pod = find(&objects, "Deployment", "kelvin-server").pod().expect("a pod");
    assert!(!pod.environment().keys().any(|name| name.starts_with("OTEL_")), "telemetry without an endpoint");
}

#[test]
fn images_come_from_where_the_values_say() {
    let Some(objects) = with_values("strict-values.yaml") else { return };
    for (deployment, image) in [
        ("thermometer-server", "registry.example.org/sensors/kelvin-server:v1"),
        ("thermometer-client-unary", "registry.example.org/sensors/kelvin-client:v1"),
    ] {
        let pod = find(&objects, "Deployment", deployment).pod().expect("a pod");
        assert_eq!(pod.text("/spec/containers/0/image"), image);
        assert_eq!(pod.at("/spec/imagePullSecrets"), &json!([{"name": "registry"}]));
    }
}

#[test]
fn tokens_of_ones_own_replace_the_random_one() {
    let Some(objects) = with_values("strict-values.yaml") else { return };
    assert_eq!(all(&objects, "Secret").count(), 0);
    let (Some(first), Some(second)) = (helm::render(&[]), helm::render(&[])) else { return };
    let token = |objects: &[Object]| find(objects, "Secret", "kelvin-tokens").text("/data/tokens").to_owned();
    assert_ne!(token(&first), token(&second), "every installation has a token of its own");
}

#[test]
fn the_test_pod_stays_to_be_read() {
    let Some(objects) = helm::render(&[]) else { return };
    let check = find(&objects, "Pod", "kelvin-check");
    assert_eq!(check.at("/metadata/annotations/helm.sh~1hook"), "test");
    assert_eq!(check.at("/metadata/annotations/helm.sh~1hook-delete-policy"), "before-hook-creation");
    assert_eq!(check.at("/spec/restartPolicy"), "Never");
    assert_eq!(check.at("/spec/containers/0/args"), &json!(["check"]));
}
