//! What users of charts expect: labels and annotations everywhere, further volumes, containers and objects.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::{
    helm,
    object::{Object, all, find, pod, texts, variable},
};

#[test]
fn every_object_has_its_namespace() {
    for values in helm::ci_values() {
        let Some(objects) = helm::render(&["--values", values.to_str().expect("a plain path")]) else {
            return;
        };
        for object in &objects {
            let wanted = match object.kind() {
                "ConfigMap" if values.ends_with("strict-values.yaml") => "monitoring",
                _ => "kelvin",
            };
            assert_eq!(object.text("/metadata/namespace"), wanted, "{} {}", object.kind(), object.name());
        }
    }
}

#[test]
fn common_labels_and_annotations_are_on_every_object_and_pod() {
    let Some(objects) = helm::render_ci("everything") else { return };
    let pods = objects.iter().filter_map(Object::pod);
    // What the values give as a whole object is left as it is.
    for object in
        objects.iter().cloned().chain(pods).filter(|object| object.at("/metadata/name") != "kelvin-extra")
    {
        assert_eq!(object.at("/metadata/labels/team"), "climate", "{object:?}");
        assert_eq!(object.at("/metadata/annotations/example.org~1contact"), "climate", "{object:?}");
    }
    for deployment in all(&objects, "Deployment") {
        assert!(deployment.at("/spec/selector/matchLabels/team").is_null(), "selectors cannot change");
    }
}

#[test]
fn annotations_of_single_objects_are_added() {
    let annotations = [
        ("server.annotations.a", "Deployment", "kelvin-server"),
        ("client.annotations.a", "Deployment", "kelvin-client-unary"),
        ("server.service.annotations.a", "Service", "kelvin-server-headless"),
        ("server.podDisruptionBudget.annotations.a", "PodDisruptionBudget", "kelvin-server"),
        ("serviceAccount.annotations.a", "ServiceAccount", "kelvin"),
        ("networkPolicy.annotations.a", "NetworkPolicy", "kelvin-server"),
        ("tls.annotations.a", "Certificate", "kelvin-server"),
        ("alerts.annotations.a", "PrometheusRule", "kelvin-server"),
        ("dashboards.annotations.a", "ConfigMap", "kelvin-dashboard-sensors"),
        ("test.annotations.a", "Pod", "kelvin-check"),
        ("podMonitor.annotations.a", "PodMonitor", "kelvin"),
        ("server.autoscaling.annotations.a", "HorizontalPodAutoscaler", "kelvin-server"),
        ("server.grpcRoute.annotations.a", "GRPCRoute", "kelvin-server"),
        ("server.tlsRoute.annotations.a", "TLSRoute", "kelvin-server"),
    ];
    let settings: Vec<_> = annotations.iter().map(|(value, ..)| format!("{value}={value}")).collect();
    let all_objects = "networkPolicy.enabled=false,podMonitor.enabled=true,store.kind=valkey,store.valkey.address=a:1,\
        server.autoscaling.enabled=true,server.grpcRoute.enabled=true,server.grpcRoute.parentRefs[0].name=a,\
        server.tlsRoute.enabled=true,server.tlsRoute.parentRefs[0].name=a,server.tlsRoute.hostnames={a.example.org},\
        tls.mtls=optional,networkPolicy.enabled=true,server.grpcRoute.from[0].podSelector.matchLabels.a=b,\
        server.tlsRoute.from[0].podSelector.matchLabels.a=b,podMonitor.from[0].podSelector.matchLabels.a=b";
    let Some(objects) = helm::render(&["--set", all_objects, "--set", &settings.join(",")]) else { return };
    for (value, kind, name) in annotations {
        assert_eq!(find(&objects, kind, name).at("/metadata/annotations/a"), value);
    }
}

#[test]
fn extra_env_replaces_a_variable_of_the_chart() {
    let Some(objects) = helm::render_ci("everything") else { return };
    for deployment in all(&objects, "Deployment") {
        let pod = deployment.pod().expect("a pod");
        let variables = pod.at("/spec/containers/0/env").as_array().expect("variables").clone();
        let mut count = BTreeMap::new();
        for variable in &variables {
            *count.entry(variable["name"].as_str().expect("a name")).or_insert(0) += 1;
        }
        assert!(count.values().all(|count| *count == 1), "{count:?}");
        let environment = pod.environment();
        assert_eq!(environment["OTEL_RESOURCE_ATTRIBUTES"], "deployment.environment.name=test");
        assert_eq!((environment["RUST_LOG"], environment["ZONE"]), ("debug", "attic"));
    }
}

#[test]
fn extra_env_keeps_its_order_and_references() {
    let environment =
        r#"server.extraEnv=[{"name":"REGION","value":"eu"},{"name":"RUST_LOG","value":"$(REGION)"}]"#;
    let Some(objects) = helm::render(&["--set-json", environment]) else { return };
    let server = pod(&objects, "kelvin-server");
    let variables = server.at("/spec/containers/0/env").as_array().expect("variables");
    let at = |name| variables.iter().position(|variable| variable["name"] == name).expect("it is there");
    assert!(at("REGION") < at("RUST_LOG"));
    assert_eq!(server.environment()["RUST_LOG"], "$(REGION)");
}

#[test]
fn alert_and_dashboard_labels_override_labels_of_the_chart() {
    let instance = r"app\.kubernetes\.io/instance=prometheus";
    let settings = format!("alerts.labels.{instance},dashboards.labels.{instance}");
    let Some(objects) = helm::render(&["--set", &settings]) else { return };
    for (kind, name) in [("PrometheusRule", "kelvin-server"), ("ConfigMap", "kelvin-dashboard-sensors")] {
        let labels = texts(find(&objects, kind, name).at("/metadata/labels"));
        assert_eq!(labels["app.kubernetes.io/instance"], "prometheus", "{kind}");
    }
}

#[test]
fn strategy_recreate_has_no_rolling_update() {
    let Some(objects) = helm::render(&["--set", "server.strategy.type=Recreate"]) else { return };
    let server = find(&objects, "Deployment", "kelvin-server");
    assert_eq!(server.at("/spec/strategy"), &json!({"type": "Recreate"}));
}

/// A number in the server's pod.
fn number(settings: &str, pointer: &str) -> Option<u64> {
    pod(&helm::render(&["--set", settings])?, "kelvin-server").at(pointer).as_u64()
}

#[test]
fn grace_of_the_server_covers_a_pause_before_its_drain() {
    let grace = |settings| number(settings, "/spec/terminationGracePeriodSeconds");
    let Some(usual) = grace("test.enabled=true") else { return };
    assert_eq!(grace("server.lifecycle.preStop.sleep.seconds=60"), Some(usual + 60));
}

#[test]
fn secrets_are_readable_without_a_group_of_their_own() {
    let mode = |settings| number(settings, "/spec/volumes/0/secret/defaultMode");
    let Some(usual) = mode("test.enabled=true") else { return };
    assert_eq!(usual, 0o440);
    assert_eq!(mode("podSecurityContext.fsGroup=null"), Some(0o444));
}

#[test]
fn pods_take_the_usual_fields() {
    let Some(objects) = helm::render_ci("everything") else { return };
    for name in ["kelvin-server", "kelvin-client-bidi-streaming"] {
        let deployment = find(&objects, "Deployment", name);
        assert_eq!(deployment.at("/spec/revisionHistoryLimit"), 2);
        assert_eq!(deployment.at("/spec/strategy/rollingUpdate/maxSurge"), 2);
        let pod = pod(&objects, name);
        for (pointer, value) in [
            ("/serviceAccountName", json!("sensors")),
            ("/runtimeClassName", json!("gvisor")),
            ("/dnsPolicy", json!("None")),
            ("/dnsConfig", json!({"nameservers": ["192.0.2.53"]})),
            ("/hostAliases/0/ip", json!("192.0.2.7")),
            ("/initContainers/0/name", json!("prepare")),
            ("/containers/1/name", json!("helper")),
            ("/containers/0/lifecycle/preStop/sleep/seconds", json!(1)),
            ("/containers/0/startupProbe/failureThreshold", json!(120)),
            ("/containers/0/readinessProbe/successThreshold", json!(2)),
            ("/containers/0/envFrom", json!([{"configMapRef": {"name": "proxy"}}])),
        ] {
            assert_eq!(pod.at(&format!("/spec{pointer}")), &value, "{pointer} of {name}");
        }
        for (list, name) in [("/spec/volumes", "cache"), ("/spec/containers/0/volumeMounts", "cache")] {
            assert!(
                pod.at(list).as_array().expect("a list").iter().any(|item| item["name"] == name),
                "{list}"
            );
        }
    }
    assert_eq!(
        pod(&objects, "kelvin-client-unary").at("/spec/containers/1"),
        &Value::Null,
        "its own list is empty"
    );
}

#[test]
fn probes_take_their_timing_and_can_be_left_out() {
    let settings = "server.readinessProbe.periodSeconds=7,client.livenessProbe=null";
    let Some(objects) = helm::render(&["--set", settings]) else { return };
    let server = pod(&objects, "kelvin-server").container();
    let request = json!({"path": "/readyz", "port": "health"});
    assert_eq!(
        server.at("/readinessProbe"),
        &json!({"httpGet": request, "periodSeconds": 7, "timeoutSeconds": 2, "failureThreshold": 2})
    );
    assert_eq!(server.at("/livenessProbe/httpGet/path"), "/livez");
    let client = pod(&objects, "kelvin-client-unary").container();
    assert!(client.at("/livenessProbe").is_null() && client.at("/startupProbe").is_object());
}

#[test]
fn extra_objects_are_rendered_as_templates() {
    let Some(objects) = helm::render_ci("everything") else { return };
    assert_eq!(texts(find(&objects, "ConfigMap", "kelvin-extra").at("/data"))["release"], "kelvin");
    let text =
        r#"extraObjects=["apiVersion: v1\nkind: Secret\nmetadata: {name: '{{ .Release.Name }}-text'}"]"#;
    let Some(objects) = helm::render(&["--set-json", text]) else { return };
    find(&objects, "Secret", "kelvin-text");
}

#[test]
fn service_account_can_be_that_of_somebody_else() {
    let Some(objects) = helm::render(&["--set", "serviceAccount.create=false"]) else { return };
    assert_eq!(all(&objects, "ServiceAccount").count(), 0);
    assert_eq!(pod(&objects, "kelvin-server").at("/spec/serviceAccountName"), "default");
}

#[test]
fn security_contexts_can_be_emptied() {
    let Some(objects) = helm::render_ci("openshift") else { return };
    let context = pod(&objects, "kelvin-server").at("/spec/securityContext").clone();
    assert_eq!(context, json!({"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}}));
    let dns = find(&objects, "NetworkPolicy", "kelvin").at("/spec/egress/0/ports").clone();
    assert_eq!(dns, json!([{"protocol": "TCP", "port": 5353}, {"protocol": "UDP", "port": 5353}]));
    let Some(objects) = helm::render(&["--set", "podSecurityContext=null,securityContext=null"]) else {
        return;
    };
    let server = pod(&objects, "kelvin-server");
    assert!(server.at("/spec/securityContext").is_null());
    assert!(server.container().at("/securityContext").is_null());
}

#[test]
fn network_policy_takes_further_rules() {
    let Some(objects) = helm::render_ci("everything") else { return };
    let policy = find(&objects, "NetworkPolicy", "kelvin");
    assert_eq!(policy.at("/spec/ingress/0/ports/0/port"), 15008);
    assert_eq!(policy.at("/spec/egress/2/ports/0/port"), 15012);
}

#[test]
fn listeners_take_both_ip_families() {
    let Some(objects) = helm::render(&[]) else { return };
    assert_eq!(variable(&objects, "kelvin-server", "KELVIN_LISTEN").as_deref(), Some("[::]:50051"));
    for deployment in ["kelvin-server", "kelvin-client-unary"] {
        assert_eq!(variable(&objects, deployment, "KELVIN_HEALTH_LISTEN").as_deref(), Some("[::]:8081"));
    }
}
