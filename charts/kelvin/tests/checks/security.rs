//! Pods that Pod Security `restricted` takes, and a network that denies what is not named.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::{
    helm,
    object::{Object, all, find, selects},
};

fn renderings() -> impl Iterator<Item = (String, Vec<Object>)> {
    helm::ci_values().into_iter().filter_map(|values| {
        let values = values.to_str().expect("a plain path").to_owned();
        helm::render(&["--values", &values]).map(|objects| (values, objects))
    })
}

#[test]
fn pods_fit_pod_security_restricted() {
    for (values, objects) in renderings() {
        for pod in objects.iter().filter_map(Object::pod) {
            let context = "/spec/containers/0/securityContext";
            for (pointer, wanted) in [
                ("/spec/automountServiceAccountToken", json!(false)),
                ("/spec/enableServiceLinks", json!(false)),
                ("/spec/securityContext/runAsNonRoot", json!(true)),
                ("/spec/securityContext/seccompProfile/type", json!("RuntimeDefault")),
                (&format!("{context}/allowPrivilegeEscalation"), json!(false)),
                (&format!("{context}/readOnlyRootFilesystem"), json!(true)),
                (&format!("{context}/capabilities/drop"), json!(["ALL"])),
            ] {
                assert_eq!(pod.at(pointer), &wanted, "{pointer} with {values}");
            }
            for pointer in ["requests/cpu", "requests/memory", "limits/memory"] {
                let resource = pod.at(&format!("/spec/containers/0/resources/{pointer}"));
                assert!(resource.is_string(), "no {pointer} with {values}");
            }
            // On OpenShift the cluster chooses the user.
            if !values.ends_with("openshift-values.yaml") {
                assert_eq!(pod.at("/spec/securityContext/runAsUser"), &json!(65532), "{values}");
            }
        }
    }
}

/// The default settings: each pod is behind a policy for both directions, and only the right ones meet.
#[test]
fn network_admits_only_named_peers() {
    let Some(objects) = helm::render(&helm::EXPORTS) else { return };
    let policies: Vec<_> = all(&objects, "NetworkPolicy").collect();
    for pod in objects.iter().filter_map(Object::pod) {
        let labels = pod.labels();
        let closed = policies.iter().any(|policy| {
            selects(policy.at("/spec/podSelector"), &labels)
                && policy.at("/spec/policyTypes") == &json!(["Ingress", "Egress"])
        });
        assert!(closed, "a pod with {labels:?} is open");
    }

    let server = pod(&objects, "Deployment", "kelvin-server");
    let client = pod(&objects, "Deployment", "kelvin-client-unary");
    let check = pod(&objects, "Pod", "kelvin-check");
    let other = Object(json!({"metadata": {"labels": {"app": "other"}}}));
    for (from, to, passes) in [
        (&client, &server, true),
        (&check, &server, true),
        (&other, &server, false),
        (&server, &server, false),
        (&server, &client, false),
        (&other, &client, false),
        (&client, &client, false),
    ] {
        assert_eq!(reaches(&policies, from, to), passes, "{:?} → {:?}", from.labels(), to.labels());
    }
    // Outside the release there are no peers but DNS, its cache on the node, and the Collector.
    let outside: Vec<_> = policies
        .iter()
        .flat_map(|policy| rules(policy, "egress", "to"))
        .filter(|(peer, _)| peer["namespaceSelector"].is_object() || peer["ipBlock"].is_object())
        .map(|(peer, ports)| {
            let namespace = &peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"];
            (namespace.as_str().or(peer["ipBlock"]["cidr"].as_str()), ports.clone())
        })
        .collect();
    let port = |protocol, port| json!({"protocol": protocol, "port": port});
    let dns = json!([port("TCP", 53), port("UDP", 53)]);
    assert_eq!(
        outside,
        [
            (Some("kube-system"), dns.clone()),
            (Some("169.254.20.10/32"), dns),
            (Some("192.0.2.0/24"), json!([port("TCP", 4317)])),
        ]
    );
}

/// The store's servers are let out to the store, and nobody else is.
#[test]
fn only_servers_reach_the_store() {
    let values = helm::chart().join("ci/valkey-cluster-values.yaml");
    let Some(objects) = helm::render(&["--values", values.to_str().expect("a plain path")]) else { return };
    let out: Vec<_> = all(&objects, "NetworkPolicy")
        .filter(|policy| {
            rules(policy, "egress", "to").any(|(peer, _)| peer["ipBlock"]["cidr"] == "192.0.2.0/24")
        })
        .map(Object::name)
        .collect();
    assert_eq!(out, ["kelvin-server"]);
}

/// The policies open the ports of the addresses; pods behind a Service that maps its port have their own value.
#[test]
fn network_policy_has_ports_of_endpoint_and_store() {
    let ports = |settings: &str, policy: &str, rule: &str| {
        let peers = "networkPolicy.collector[0].ipBlock.cidr=192.0.2.0/24";
        let objects = helm::render(&["--set", peers, "--set", settings])?;
        let ports = find(&objects, "NetworkPolicy", policy).at(&format!("/spec/egress/{rule}/ports")).clone();
        let ports =
            ports.as_array().expect("ports").iter().map(|port| port["port"].as_u64().expect("a port"));
        Some(ports.collect::<Vec<_>>())
    };
    for (settings, port) in [
        ("telemetry.endpoint=http://collector:4318", 4318),
        ("telemetry.endpoint=https://collector.example.org/otlp", 443),
        ("telemetry.endpoint=http://[2001:db8::1]", 80),
        ("telemetry.endpoint=http://[$(HOST_IP)]:4317", 4317),
        ("telemetry.endpoint=https://collector:443,networkPolicy.collectorPort=4317", 4317),
    ] {
        let Some(found) = ports(settings, "kelvin", "1") else { return };
        assert_eq!(found, [port], "{settings}");
    }
    let store = r"store.kind=valkey,store.valkey.cluster=true,store.valkey.address=a:6380\,[2001:db8::1]:7000\,b:6380";
    let Some(found) = ports(store, "kelvin-server", "0") else { return };
    assert_eq!(found, [6380, 7000]);
    let Some(found) = ports(&format!("{store},networkPolicy.valkeyPorts={{6379}}"), "kelvin-server", "0")
    else {
        return;
    };
    assert_eq!(found, [6379]);
}

fn pod(objects: &[Object], kind: &str, name: &str) -> Object {
    find(objects, kind, name).pod().expect("a workload")
}

/// Whether the policies let a pod of the namespace call another on the port of gRPC: out of the one and into the other.
fn reaches(policies: &[&Object], from: &Object, to: &Object) -> bool {
    let allowed = |at: &Object, direction: &str, peers: &str, other: &BTreeMap<&str, &str>| {
        let of_pod = policies.iter().filter(|policy| selects(policy.at("/spec/podSelector"), &at.labels()));
        let mut policed = of_pod
            .filter(|policy| {
                policy
                    .at("/spec/policyTypes")
                    .as_array()
                    .is_some_and(|types| types.iter().any(|kind| *kind == heading(direction)))
            })
            .peekable();
        policed.peek().is_none()
            || policed.any(|policy| {
                rules(policy, direction, peers).any(|(peer, ports)| {
                    peer["namespaceSelector"].is_null()
                        && selects(&peer["podSelector"], other)
                        && ports
                            .as_array()
                            .is_some_and(|ports| ports.iter().any(|port| port["port"] == 50051))
                })
            })
    };
    allowed(from, "egress", "to", &to.labels()) && allowed(to, "ingress", "from", &from.labels())
}

fn heading(direction: &str) -> &str {
    if direction == "egress" { "Egress" } else { "Ingress" }
}

/// Peers of a policy in a direction, each with the ports it is for.
fn rules<'a>(
    policy: &'a Object,
    direction: &str,
    peers: &'a str,
) -> impl Iterator<Item = (&'a Value, &'a Value)> {
    let rules = policy.at(&format!("/spec/{direction}")).as_array().into_iter().flatten();
    rules.flat_map(move |rule| {
        let peers = rule[peers].as_array().expect("a rule names its peers");
        assert!(!peers.is_empty() && rule["ports"].is_array(), "a rule for everybody: {rule}");
        peers.iter().map(move |peer| (peer, &rule["ports"]))
    })
}
