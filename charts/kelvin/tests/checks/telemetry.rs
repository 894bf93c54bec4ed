//! What the pods export, and how Prometheus scrapes it.

use serde_json::json;

use crate::{
    helm,
    object::{all, find, pod, selects, variable},
};

#[test]
fn telemetry_identifies_each_pod() {
    let Some(objects) = helm::render(&helm::EXPORTS) else { return };
    for deployment in all(&objects, "Deployment") {
        let pod = deployment.pod().expect("a Deployment has a pod");
        let environment = pod.environment();
        assert_eq!(environment["OTEL_SERVICE_NAME"], deployment.name());
        assert!(environment["OTEL_RESOURCE_ATTRIBUTES"].contains("service.instance.id=kelvin.$(POD_NAME)."));
    }
}

#[test]
fn referenced_variables_are_defined_before() {
    for values in ["default", "collector", "bare"] {
        let Some(objects) = helm::render_ci(values) else { return };
        let pod = pod(&objects, "kelvin-client-unary");
        let mut defined = Vec::new();
        for variable in pod.at("/spec/containers/0/env").as_array().expect("variables") {
            let value = variable["value"].as_str().unwrap_or_default();
            for reference in value.split("$(").skip(1).filter_map(|rest| rest.split(')').next()) {
                assert!(
                    defined.contains(&reference),
                    "{reference} is used in {variable} before it is defined"
                );
            }
            defined.push(variable["name"].as_str().expect("a name"));
        }
    }
}

#[test]
fn endpoint_may_be_the_node_with_protocol_headers_and_ca() {
    let Some(objects) = helm::render_ci("collector") else { return };
    for (name, value) in [
        ("ENDPOINT", "https://$(HOST_IP):4318"),
        ("PROTOCOL", "http/protobuf"),
        ("HEADERS", "x-tenant=climate%20%26%20weather"),
        ("CERTIFICATE", "/etc/kelvin/otlp/ca.crt"),
    ] {
        for deployment in ["kelvin-server", "kelvin-client-unary"] {
            let set = variable(&objects, deployment, &format!("OTEL_EXPORTER_OTLP_{name}"));
            assert_eq!(set.as_deref(), Some(value), "{name}");
        }
    }
}

#[test]
fn secret_headers_come_from_their_secret() {
    let arguments = [&helm::EXPORTS[..], &["--set", "telemetry.headersSecret.name=otlp"]].concat();
    let Some(objects) = helm::render(&arguments) else { return };
    let server = pod(&objects, "kelvin-server");
    let variables = server.at("/spec/containers/0/env").as_array().expect("variables");
    let headers = variables.iter().find(|variable| variable["name"] == "OTEL_EXPORTER_OTLP_HEADERS");
    assert_eq!(
        headers.expect("they are set")["valueFrom"],
        json!({"secretKeyRef": {"name": "otlp", "key": "headers"}})
    );
}

#[test]
fn missing_endpoint_disables_export_and_metric_alerts() {
    let Some(objects) = helm::render_ci("no-collector") else { return };
    let server = pod(&objects, "kelvin-server");
    assert!(!server.environment().keys().any(|name| name.starts_with("OTEL_")));
    let rules = json!(all(&objects, "PrometheusRule").map(|rule| &rule.0).collect::<Vec<_>>()).to_string();
    assert!(rules.contains("kube_deployment_status_replicas_available"), "{rules}");
    for metric in ["kelvin_", "grpc_", "otel_"] {
        assert!(!rules.contains(metric), "{metric} in {rules}");
    }
    assert!(all(&objects, "PrometheusRule").all(|rule| rule.at("/metadata/labels/release") == "monitoring"));
}

/// `job` and `instance` as Prometheus derives them from OTLP's service.namespace, service.name and service.instance.id.
#[test]
fn scraped_metrics_have_the_labels_of_exported_ones() {
    let Some(objects) = helm::render_ci("scraping") else { return };
    let monitor = find(&objects, "PodMonitor", "kelvin");
    let endpoint = monitor.at("/spec/podMetricsEndpoints/0");
    assert_eq!((&endpoint["port"], &endpoint["path"]), (&json!("health"), &json!("/metrics")));
    let targets: Vec<_> = endpoint["relabelings"].as_array().expect("relabelings").iter().collect();
    for (label, sources) in [
        ("job", json!(["__meta_kubernetes_namespace", "__meta_kubernetes_pod_controller_name"])),
        (
            "instance",
            json!([
                "__meta_kubernetes_namespace",
                "__meta_kubernetes_pod_name",
                "__meta_kubernetes_pod_container_name"
            ]),
        ),
        ("k8s_pod_name", json!(["__meta_kubernetes_pod_name"])),
        ("k8s_namespace_name", json!(["__meta_kubernetes_namespace"])),
    ] {
        let relabeling = targets.iter().find(|relabeling| relabeling["targetLabel"] == label);
        assert_eq!(relabeling.expect("it is relabelled")["sourceLabels"], sources, "{label}");
    }
    for deployment in all(&objects, "Deployment") {
        let pod = deployment.pod().expect("a pod");
        assert!(selects(&json!({"matchLabels": monitor.at("/spec/selector/matchLabels")}), &pod.labels()));
        assert_eq!(pod.environment()["KELVIN_PROMETHEUS"], "true");
    }
    let policy = find(&objects, "NetworkPolicy", "kelvin");
    assert_eq!(policy.at("/spec/ingress/0/ports"), &json!([{"protocol": "TCP", "port": 8081}]));
    assert_eq!(
        policy.at("/spec/ingress/0/from/0/podSelector/matchLabels/app.kubernetes.io~1name"),
        "prometheus"
    );
    assert!(all(&objects, "PrometheusRule").count() > 1, "there are alerts on scraped metrics too");
}
