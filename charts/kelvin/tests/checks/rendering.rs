//! What values become.

use std::{collections::BTreeSet, fs};

use kelvin_proto::CallType;
use serde_json::json;

use crate::{
    helm,
    object::{Object, all, find, pod, selects, variable},
};

#[test]
fn four_clients_come_from_one_template() {
    let Some(objects) = helm::render(&[]) else { return };
    // The clients differ only in the name of their call type.
    let shapes: BTreeSet<_> = CallType::ALL
        .map(CallType::name)
        .iter()
        .map(|name| {
            find(&objects, "Deployment", &format!("kelvin-client-{name}")).0.to_string().replace(name, "TYPE")
        })
        .collect();
    assert_eq!(shapes.len(), 1, "{shapes:#?}");
    assert_eq!(all(&objects, "Deployment").count(), 1 + CallType::ALL.len());
}

#[test]
fn client_block_takes_precedence_over_client_values() {
    let Some(objects) = helm::render_ci("bare") else { return };
    let unary = find(&objects, "Deployment", "kelvin-client-unary");
    assert_eq!(unary.at("/spec/replicas"), 2);
    for (name, value) in [("SENSORS", "100"), ("INTERVAL_MIN", "10ms"), ("DEADLINE", "2s")] {
        assert_eq!(
            variable(&objects, "kelvin-client-unary", &format!("KELVIN_{name}")).as_deref(),
            Some(value)
        );
    }
    assert_eq!(variable(&objects, "kelvin-client-bidi-streaming", "KELVIN_DEADLINE"), None);
    let deployments: Vec<_> = all(&objects, "Deployment").map(Object::name).collect();
    assert_eq!(deployments, ["kelvin-client-bidi-streaming", "kelvin-client-unary", "kelvin-server"]);
}

#[test]
fn zero_replicas_are_kept() {
    let Some(objects) = helm::render(&["--set", "clients.unary.replicas=0"]) else { return };
    assert_eq!(find(&objects, "Deployment", "kelvin-client-unary").at("/spec/replicas"), 0);
}

#[test]
fn services_select_the_servers() {
    let Some(objects) = helm::render(&[]) else { return };
    let server = pod(&objects, "kelvin-server");
    let client = pod(&objects, "kelvin-client-unary");
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
fn disruption_budget_allows_one_server_at_a_time() {
    let Some(objects) = helm::render_ci("valkey-cluster") else { return };
    let budget = find(&objects, "PodDisruptionBudget", "kelvin-server");
    let server = pod(&objects, "kelvin-server");
    assert!(selects(budget.at("/spec/selector"), &server.labels()));
    assert_eq!(budget.at("/spec/maxUnavailable"), 1);
    let spread = server.at("/spec/topologySpreadConstraints/0");
    assert!(selects(&spread["labelSelector"], &server.labels()), "servers spread over nodes: {spread}");
}

#[test]
fn grace_period_covers_drain() {
    let arguments = ["--set", "server.drain.delaySeconds=7", "--set", "server.drain.timeoutSeconds=60"];
    let Some(objects) = helm::render(&arguments) else { return };
    let pod = pod(&objects, "kelvin-server");
    assert_eq!(pod.at("/spec/terminationGracePeriodSeconds"), 77);
    assert_eq!(variable(&objects, "kelvin-server", "KELVIN_DRAIN_DELAY").as_deref(), Some("7s"));
    assert_eq!(variable(&objects, "kelvin-server", "KELVIN_DRAIN_TIMEOUT").as_deref(), Some("60s"));
}

/// The table in README is what the limits add up to, and the memory limit covers it.
#[test]
fn default_limits_fit_the_memory_limit() {
    let readme = fs::read_to_string(helm::chart().join("README.md")).expect("the chart has a README");
    let (_, table) = readme.split_once("  | what | MiB |").expect("README has the table");
    let rows: Vec<(&str, u64)> = table
        .lines()
        .skip(2)
        .map_while(|line| line.trim().strip_prefix("| ")?.strip_suffix(" |")?.split_once(" | "))
        .map(|(what, size)| (what, size.parse().expect("MiB")))
        .collect();
    let (total, parts) = rows.split_last().expect("rows");
    assert_eq!(parts.iter().map(|(_, size)| size).sum::<u64>(), total.1, "{parts:?}");

    let Some(objects) = helm::render(&[]) else { return };
    let limit = pod(&objects, "kelvin-server").container().text("/resources/limits/memory").to_owned();
    assert!(total.0.ends_with(&format!("a memory limit of {limit}")), "{limit}: {}", total.0);
    assert!(total.1 <= limit.trim_end_matches("Mi").parse().expect("MiB"), "{rows:?} is more than {limit}");
    let store = variable(&objects, "kelvin-server", "KELVIN_STORE_MEMORY_LIMIT");
    assert_eq!(store, Some(format!("{}MiB", parts[0].1)));
    for (name, value) in [
        ("CONNECTION_MEMORY_LIMIT", format!("{}MiB", parts[1].1)),
        ("MAX_UNAUTHENTICATED_CONNECTIONS", "1000".to_owned()),
        ("MAX_CONNECTIONS", "2000".to_owned()),
    ] {
        assert_eq!(
            variable(&objects, "kelvin-server", &format!("KELVIN_{name}")),
            Some(value),
            "KELVIN_{name}"
        );
    }
}

#[test]
fn autoscaler_owns_the_number_of_servers() {
    let Some(objects) = helm::render_ci("valkey") else { return };
    assert!(find(&objects, "Deployment", "kelvin-server").at("/spec/replicas").is_null());
    let autoscaler = find(&objects, "HorizontalPodAutoscaler", "kelvin-server");
    assert_eq!(
        autoscaler.at("/spec/metrics/0/resource/target"),
        &json!({"type": "AverageValue", "averageValue": "200m"})
    );
    let Some(objects) = helm::render_ci("valkey-cluster") else { return };
    assert_eq!(find(&objects, "Deployment", "kelvin-server").at("/spec/replicas"), 3);
    assert_eq!(all(&objects, "HorizontalPodAutoscaler").count(), 0);
}

#[test]
fn store_values_become_settings() {
    let Some(objects) = helm::render_ci("valkey") else { return };
    for (name, value) in [
        ("STORE", "valkey"),
        ("VALKEY_ADDRESS", "valkey.valkey.svc.cluster.local:6379"),
        ("VALKEY_CLUSTER", "false"),
        ("VALKEY_USERNAME", "kelvin"),
        ("VALKEY_PASSWORD_FILE", "/etc/kelvin/valkey/password"),
        ("VALKEY_TLS_CA", "/etc/kelvin/tls/ca.crt"),
        ("VALKEY_ACKNOWLEDGE", "fsync"),
    ] {
        let set = variable(&objects, "kelvin-server", &format!("KELVIN_{name}"));
        assert_eq!(set.as_deref(), Some(value), "KELVIN_{name}");
    }
    let Some(objects) = helm::render_ci("valkey-cluster") else { return };
    let ca = variable(&objects, "kelvin-server", "KELVIN_VALKEY_TLS_CA");
    assert_eq!(ca.as_deref(), Some("/etc/kelvin/valkey-tls/ca.pem"));
}

#[test]
fn image_values_make_the_reference() {
    let Some(objects) = helm::render_ci("strict") else { return };
    for (deployment, image) in [
        ("thermometer-server", "registry.example.org/sensors/kelvin-server:v1"),
        ("thermometer-client-unary", "registry.example.org/sensors/kelvin-client:v1"),
    ] {
        let pod = pod(&objects, deployment);
        assert_eq!(pod.text("/spec/containers/0/image"), image);
        assert_eq!(pod.at("/spec/imagePullSecrets"), &json!([{"name": "registry"}]));
    }
}

#[test]
fn test_pod_is_kept_for_its_log() {
    let Some(objects) = helm::render(&[]) else { return };
    let check = find(&objects, "Pod", "kelvin-check");
    assert_eq!(check.at("/metadata/annotations/helm.sh~1hook"), "test");
    assert_eq!(check.at("/metadata/annotations/helm.sh~1hook-delete-policy"), "before-hook-creation");
    assert_eq!(check.at("/spec/restartPolicy"), "Never");
    assert_eq!(check.at("/spec/containers/0/args"), &json!(["check"]));
}

#[test]
fn digest_pins_image_and_global_registry_takes_precedence() {
    let arguments = [
        "--set",
        "global.imageRegistry=mirror.example.org/",
        "--set",
        "image.registry=ignored.example.org",
        "--set",
        "server.image.digest=sha256:0000000000000000000000000000000000000000000000000000000000000000",
        "--set",
        "client.image.registry=ignored.example.org,client.image.tag=v2",
        "--set",
        "image.pullSecrets={first},global.imagePullSecrets[0].name=second",
    ];
    let Some(objects) = helm::render(&arguments) else { return };
    let server = pod(&objects, "kelvin-server");
    let digest = "@sha256:0000000000000000000000000000000000000000000000000000000000000000";
    assert_eq!(
        server.text("/spec/containers/0/image"),
        format!("mirror.example.org/kelvin-server:{}{digest}", env!("CARGO_PKG_VERSION"))
    );
    assert_eq!(server.at("/spec/imagePullSecrets"), &json!([{"name": "first"}, {"name": "second"}]));
    let client = pod(&objects, "kelvin-client-unary");
    assert_eq!(client.text("/spec/containers/0/image"), "mirror.example.org/kelvin-client:v2");
}

#[test]
fn several_pods_of_a_kind_simulate_different_sensors() {
    let prefix =
        |objects: &[_], kind| variable(objects, &format!("kelvin-client-{kind}"), "KELVIN_SENSOR_PREFIX");
    let Some(objects) = helm::render_ci("bare") else { return };
    assert_eq!(prefix(&objects, "unary").as_deref(), Some("$(POD_NAME)-"));
    assert_eq!(prefix(&objects, "bidi-streaming"), None, "one pod keeps its sensors over restarts");
    let own = "clients.unary.replicas=2,clients.unary.settings.SENSOR_PREFIX=own-";
    let Some(objects) = helm::render(&["--set", own]) else { return };
    assert_eq!(prefix(&objects, "unary").as_deref(), Some("own-"));
}

#[test]
fn renamed_value_works_by_its_old_name() {
    let Some(objects) = helm::render(&["--set", "server.drain.waitSeconds=9"]) else { return };
    assert_eq!(variable(&objects, "kelvin-server", "KELVIN_DRAIN_DELAY").as_deref(), Some("9s"));
    assert_eq!(pod(&objects, "kelvin-server").at("/spec/terminationGracePeriodSeconds"), 9 + 20 + 10);
}

/// The server reports it and reads it; beside its successor it is an error there.
#[test]
fn renamed_setting_reaches_the_server_by_its_old_name() {
    let Some(objects) = helm::render(&["--set", "server.settings.SENSOR_IDLE=2h"]) else { return };
    assert_eq!(variable(&objects, "kelvin-server", "KELVIN_SENSOR_IDLE").as_deref(), Some("2h"));
}
