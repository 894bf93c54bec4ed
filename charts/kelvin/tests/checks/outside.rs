//! Callers outside the cluster: a Service, the Gateway API, and `NetworkPolicies` that open exactly that way.

use serde_json::{Value, json};

use crate::{
    helm,
    object::{Object, all, find, pod, selects},
};

#[test]
fn external_service_is_off_by_default() {
    let Some(objects) = helm::render(&[]) else { return };
    assert_eq!(all(&objects, "Service").count(), 2);
    assert!(all(&objects, "Service").all(|service| service.at("/spec/type").is_null()));
    assert_eq!(callers(&objects), Vec::<Value>::new());
}

#[test]
fn external_service_has_the_given_load_balancer() {
    let Some(objects) = helm::render_ci("external") else { return };
    let service = find(&objects, "Service", "kelvin-server-external");
    assert!(selects(service.at("/spec/selector"), &pod(&objects, "kelvin-server").labels()));
    assert_eq!(service.at("/metadata/annotations"), &json!({"example.org/static-address": "sensors"}));
    for (field, value) in [
        ("type", json!("LoadBalancer")),
        ("loadBalancerClass", json!("example.org/network")),
        ("loadBalancerSourceRanges", json!(["198.51.100.0/24", "2001:db8:1::/48"])),
        ("externalTrafficPolicy", json!("Local")),
        ("ports", json!([{"name": "grpc", "port": 443, "targetPort": "grpc", "appProtocol": "tls"}])),
    ] {
        assert_eq!(service.at(&format!("/spec/{field}")), &value, "{field}");
    }
}

#[test]
fn services_have_the_given_ip_families_and_node_port() {
    let Some(objects) = helm::render_ci("ipv6") else { return };
    for name in ["kelvin-server", "kelvin-server-headless"] {
        let service = find(&objects, "Service", name);
        assert_eq!(service.at("/spec/ipFamilyPolicy"), "PreferDualStack");
        assert_eq!(service.at("/spec/ipFamilies"), &json!(["IPv6", "IPv4"]));
    }
    let external = find(&objects, "Service", "kelvin-server-external");
    assert_eq!(external.at("/spec/ipFamilyPolicy"), "RequireDualStack");
    assert_eq!(
        (external.at("/spec/type"), external.at("/spec/ports/0/nodePort")),
        (&json!("NodePort"), &json!(30051))
    );
}

#[test]
fn app_protocol_says_whether_the_port_speaks_tls() {
    for (values, protocol) in [("default", "tls"), ("bare", "grpc")] {
        let Some(objects) = helm::render_ci(values) else { return };
        assert!(
            all(&objects, "Service").all(|service| service.at("/spec/ports/0/appProtocol") == protocol),
            "{values}"
        );
    }
}

/// The addresses of callers stay only where the traffic policy is `Local`; otherwise a node's comes.
#[test]
fn source_ranges_are_admitted_with_local_traffic_policy() {
    let Some(objects) = helm::render_ci("external") else { return };
    let gateways = json!({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "gateways"}}});
    let block = |cidr| json!({"ipBlock": {"cidr": cidr}});
    assert_eq!(callers(&objects), [gateways, block("198.51.100.0/24"), block("2001:db8:1::/48")]);
    let open = "server.externalService.enabled=true,server.externalService.loadBalancerSourceRanges={198.51.100.0/24}";
    let Some(objects) = helm::render(&["--set", open]) else { return };
    assert_eq!(callers(&objects), [block("0.0.0.0/0"), block("::/0")]);
    let Some(objects) = helm::render_ci("ipv6") else { return };
    assert_eq!(callers(&objects), [block("2001:db8::/32")]);
}

/// A rule without peers would admit everybody.
#[test]
fn servers_without_callers_admit_nobody() {
    let Some(objects) = helm::render(&["--set", "client.enabled=false,test.enabled=false"]) else { return };
    let policy = find(&objects, "NetworkPolicy", "kelvin-server");
    assert_eq!(policy.at("/spec/policyTypes"), &json!(["Ingress", "Egress"]));
    assert!(policy.at("/spec/ingress").is_null());
    let policies: Vec<_> = all(&objects, "NetworkPolicy").map(Object::name).collect();
    assert_eq!(policies, ["kelvin", "kelvin-server"]);
}

#[test]
fn routes_lead_from_the_gateways_to_the_servers() {
    let Some(objects) = helm::render_ci("external") else { return };
    for (kind, host) in [("GRPCRoute", "kelvin.example.org"), ("TLSRoute", "sensors.example.org")] {
        let route = find(&objects, kind, "kelvin-server");
        assert_eq!(route.at("/spec/hostnames"), &json!([host]));
        assert_eq!(route.at("/spec/parentRefs/0/namespace"), "gateways");
        assert_eq!(route.at("/spec/rules/0/backendRefs"), &json!([{"name": "kelvin-server", "port": 50051}]));
    }
    let policy = find(&objects, "BackendTLSPolicy", "kelvin-server");
    let certificate = find(&objects, "Certificate", "kelvin-server").at("/spec/dnsNames").clone();
    assert!(certificate.as_array().expect("names").contains(policy.at("/spec/validation/hostname")));
}

/// Who may call the servers, beside the release's own pods.
fn callers(objects: &[Object]) -> Vec<Value> {
    let policy = find(objects, "NetworkPolicy", "kelvin-server");
    let peers = policy.at("/spec/ingress/0/from").as_array().expect("callers");
    let own = |peer: &&Value| !peer["podSelector"]["matchLabels"]["app.kubernetes.io/instance"].is_string();
    peers.iter().filter(own).cloned().collect()
}
