//! Settings that do not go together are refused, in words that say what to set.

use crate::helm;

const REFUSED: [(&[&str], &str); 20] = [
    (&["server.replicas=3"], "set store.kind to valkey, or server.replicas to 1"),
    (
        &["server.autoscaling.enabled=true"],
        "set store.kind to valkey, or server.autoscaling.enabled to false",
    ),
    (&["store.valkey.address=valkey:6379"], "set store.kind to valkey, or leave the address away"),
    (&["store.kind=valkey"], "set store.valkey.address to host:port"),
    (&["store.kind=valkey", r"store.valkey.address=a:1\,b:2"], "set store.valkey.cluster to true"),
    (
        &["store.kind=valkey", "store.valkey.address=a:1", "tls.enabled=false", "tls.mtls=none"],
        "set store.valkey.tls.existingSecret, or store.valkey.tls.enabled to false",
    ),
    (
        &[
            "store.kind=valkey",
            "store.valkey.address=a:1",
            "server.autoscaling.enabled=true",
            "server.autoscaling.minReplicas=7",
        ],
        "server.autoscaling.minReplicas (7) is above server.autoscaling.maxReplicas (6)",
    ),
    (&["tls.enabled=false"], "set tls.mtls to none"),
    (&["fullnameOverride=a-name-that-is-longer-than-any-should-be"], "longer than 35 characters"),
    (&["fullnameOverride=Kelvin"], "set fullnameOverride to small letters, digits and hyphens"),
    (&["server.port=8081"], "server.port is 8081, where the health checks are answered"),
    (&["store.maxReadings=100000000"], "lower the one or raise the other"),
    (&["alerting.low=70"], "alerting.low (70) is not below alerting.high (60)"),
    (
        &["clients.unary.intervalMin=2s"],
        "clients.unary.intervalMin (2s) is longer than its intervalMax (1500ms)",
    ),
    (&["tls.renewBefore=80h"], "tls.renewBefore (80h) is not shorter than tls.duration (72h)"),
    (&["alerts.certificateDays=1"], "alerts.certificateDays (1) is not less than tls.renewBefore (24h)"),
    (&["tls.issuerRef.kind=Issuer"], "set tls.issuerRef.name"),
    (&["tls.issuerRef.name=ca", "tls.issuerRef.kind=Isuer"], "set it to Issuer or ClusterIssuer"),
    (
        &["server.settings.STORE=memory"],
        "server.settings.STORE: the chart sets KELVIN_STORE from other values",
    ),
    (
        &["clients.unary.settings.SENSORS=5"],
        "client.settings.SENSORS: the chart sets KELVIN_SENSORS from other values",
    ),
];

#[test]
fn settings_that_do_not_fit_are_refused_in_plain_words() {
    for (settings, words) in REFUSED {
        let arguments: Vec<_> = settings.iter().flat_map(|setting| ["--set", setting]).collect();
        let Some(mut helm) = helm::template(&arguments) else { return };
        let (rendered, said) = helm::outcome(&mut helm);
        assert!(!rendered, "{settings:?} should be refused");
        assert!(said.contains(words), "{settings:?} should say {words:?}, but says:\n{said}");
    }
}

#[test]
fn a_cluster_without_cert_manager_is_told_so() {
    let Some(mut helm) = helm::bare_template(&[]) else { return };
    let (rendered, said) = helm::outcome(&mut helm);
    assert!(!rendered && said.contains("cert-manager is not in this cluster"), "{said}");
}

#[test]
fn a_cluster_without_prometheus_gets_no_alerts() {
    let Some(mut helm) = helm::bare_template(&["--api-versions", "cert-manager.io/v1"]) else { return };
    let rendered = helm::run(&mut helm);
    assert!(rendered.contains("kind: Deployment") && !rendered.contains("kind: PrometheusRule"));
}

/// Notes are rendered by an installation alone, and only Helm 4 makes one without asking a cluster.
#[test]
fn a_cluster_without_prometheus_is_told_so() {
    let (Some(mut version), Some(mut helm)) = (helm::tool("helm"), helm::tool("helm")) else { return };
    let version = helm::run(version.args(["version", "--template", "{{.Version}}"]));
    if version.starts_with("v3.") {
        return helm::not_run(&format!("Helm {version} renders no notes without a cluster; Helm 4 does"));
    }
    helm.args(["install", "kelvin"]).arg(helm::chart()).args(["--namespace", "kelvin", "--dry-run=client"]);
    let said = helm::run(helm.args(["--set", "tls.enabled=false,tls.mtls=none"]));
    assert!(said.contains("NO ALERTS: this cluster knows no PrometheusRule"), "{said}");
}
