//! Settings that do not go together are refused, in words that say what to set.

use crate::helm;

const REFUSED: [(&[&str], &str); 53] = [
    (&["server.replicas=3"], "set store.kind to valkey, or server.replicas to 1"),
    (
        &["server.autoscaling.enabled=true"],
        "set store.kind to valkey, or server.autoscaling.enabled to false",
    ),
    (&["store.valkey.address=valkey:6379"], "set store.kind to valkey, or leave the address out"),
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
    (&["fullnameOverride=Kelvin"], "set fullnameOverride to lower-case letters, digits and hyphens"),
    (&["server.port=8081"], "server.port is 8081, the port of the health checks"),
    (&["store.memoryLimit=1GiB"], "lower one or raise the other"),
    (
        &["server.connectionMemoryLimit=300MiB"],
        "store.memoryLimit (96MiB) and server.connectionMemoryLimit (300MiB) are together more than \
        server.resources.limits.memory (384Mi)",
    ),
    (&["server.resources.limits.memory=100000000000m"], "server.resources.limits.memory (100000000000m)"),
    (&["nameOverride=a b", "fullnameOverride=kelvin"], "nameOverride (\"a b\") cannot be a label"),
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
    (&["enabled=false"], "a condition (condition: kelvin.enabled)"),
    (
        &["store.kind=valkey", "store.valkey.address=a:1", "networkPolicy.valkey=null"],
        "networkPolicy.valkey is empty",
    ),
    (&["clients.unary.sensors=null"], "clients.unary needs sensors"),
    (&[r"commonLabels.app\.kubernetes\.io/name=x"], "commonLabels sets app.kubernetes.io/name"),
    (
        &[r"server.podLabels.app\.kubernetes\.io/component=x"],
        "server.podLabels sets app.kubernetes.io/component",
    ),
    (&["clients.unary.podLabels.kelvin/rpc=x"], "clients.unary.podLabels sets kelvin/rpc"),
    (
        &["server.extraEnv[0].name=A", "server.extraEnv[1].name=A"],
        "server.extraEnv: the name A is used twice",
    ),
    (&["server.extraVolumes[0].name=tls"], "server.extraVolumes: the name tls is used twice"),
    (
        &["server.extraVolumeMounts[0].name=a", "server.extraVolumeMounts[0].mountPath=/etc/kelvin/tls/"],
        "server.extraVolumeMounts: the mountPath /etc/kelvin/tls is used twice",
    ),
    (&["server.sidecars[0].name=server"], "the name server is used twice"),
    (&["client.sidecars[0].name=a", "client.initContainers[0].name=a"], "the name a is used twice"),
    (
        &["server.drain.waitSeconds=9", "server.drain.delaySeconds=8"],
        "server.drain.waitSeconds is the old name of server.drain.delaySeconds, and both are set",
    ),
    (&["tls.enabled=false", "tls.mtls=none", "tls.existingSecret=a"], "set tls.enabled to true"),
    (&["tls.mtls=required", "client.tls.clientCertificate=false"], "client.tls.clientCertificate is false"),
    (&["tls.mtls=none", "client.tls.existingSecret=a"], "the clients present no certificates"),
    (&["tls.existingSecret=a"], "set client.tls.existingSecret, or client.tls.clientCertificate to false"),
    (&["tls.dnsNames={192.0.2.1}"], "tls.dnsNames has the IP address 192.0.2.1: put it into tls.ipAddresses"),
    (&["tls.external.dnsNames={2001:db8::1}"], "put it into tls.external.ipAddresses"),
    (
        &["tls.external.existingSecret=a", "tls.external.dnsNames={a.example.org}"],
        "tls.external.existingSecret is set, so no certificate is issued",
    ),
    (&["tls.external.issuerRef.name=acme"], "set tls.external.dnsNames"),
    (&["server.grpcRoute.enabled=true"], "set server.grpcRoute.parentRefs"),
    (&["server.tlsRoute.enabled=true", "server.tlsRoute.parentRefs[0].name=a"], "set server.tlsRoute.from"),
    (
        &[
            "networkPolicy.enabled=false",
            "server.tlsRoute.enabled=true",
            "server.tlsRoute.parentRefs[0].name=a",
        ],
        "set server.tlsRoute.hostnames",
    ),
    (
        &[
            "networkPolicy.enabled=false",
            "tls.mtls=required",
            "server.grpcRoute.enabled=true",
            "server.grpcRoute.parentRefs[0].name=a",
        ],
        "use server.tlsRoute, or set tls.mtls to optional",
    ),
    (
        &[
            "server.externalService.enabled=true",
            "server.externalService.type=NodePort",
            "server.externalService.loadBalancerClass=a",
        ],
        "server.externalService.type is NodePort",
    ),
    (&["telemetry.endpoint=http://a:4317"], "set networkPolicy.collector"),
    (&["telemetry.caSecret=a"], "have no effect without telemetry.endpoint"),
    (
        &["networkPolicy.enabled=false", "telemetry.endpoint=http://a:4317", "telemetry.caSecret=a"],
        "telemetry.endpoint (http://a:4317) is not https",
    ),
    (
        &[
            "networkPolicy.enabled=false",
            "telemetry.endpoint=http://a:4317",
            "telemetry.headers.a=b",
            "telemetry.headersSecret.name=a",
        ],
        "put all headers into the Secret",
    ),
    (&["podMonitor.enabled=true"], "set podMonitor.from"),
];

#[test]
fn conflicting_values_are_refused_in_plain_words() {
    for (settings, words) in REFUSED {
        let arguments: Vec<_> = settings.iter().flat_map(|setting| ["--set", setting]).collect();
        let Some(mut helm) = helm::template(&arguments) else { return };
        let (rendered, said) = helm::outcome(&mut helm);
        assert!(!rendered, "{settings:?} should be refused");
        assert!(said.contains(words), "{settings:?} should say {words:?}, but says:\n{said}");
    }
}

/// An API that every cluster has, and that no rendering without a cluster knows of.
const CLUSTER: [&str; 2] = ["--api-versions", "apiregistration.k8s.io/v1"];

#[test]
fn missing_cert_manager_is_reported() {
    let Some(mut helm) = helm::bare_template(&CLUSTER) else { return };
    let (rendered, said) = helm::outcome(&mut helm);
    assert!(!rendered && said.contains("cert-manager is not in this cluster"), "{said}");
    for values in ["existing-secrets", "no-cert-manager", "bare"] {
        let Some(mut helm) = helm::bare_template(&[&CLUSTER[..], &["--values", &helm::ci(values)]].concat())
        else {
            return;
        };
        helm::run(&mut helm);
    }
}

#[test]
fn cluster_without_prometheus_operator_gets_no_alerts() {
    let Some(mut helm) = helm::bare_template(&["--api-versions", "cert-manager.io/v1"]) else { return };
    let rendered = helm::run(&mut helm);
    assert!(rendered.contains("kind: Deployment") && !rendered.contains("kind: PrometheusRule"));
    let explicit = ["--api-versions", "cert-manager.io/v1", "--set", "alerts.enabled=true"];
    let Some(mut helm) = helm::bare_template(&explicit) else { return };
    assert!(helm::run(&mut helm).contains("kind: PrometheusRule"), "alerts that are asked for are rendered");
}

/// The largest unit of a quantity is larger than what the store may take.
#[test]
fn memory_limit_in_any_unit_is_compared() {
    for limit in ["1Pi", "1P", "1Ei", "1E", "1e9", "400000000000m"] {
        let limit = format!("server.resources.limits.memory={limit}");
        let Some(mut helm) = helm::template(&["--set-string", &limit]) else { return };
        helm::run(&mut helm);
    }
}

/// The notes of an installation: nothing else renders them, and only Helm 4 makes one without asking a cluster.
fn notes(settings: &str) -> Option<String> {
    let (mut version, mut helm) = (helm::tool("helm")?, helm::tool("helm")?);
    let version = helm::run(version.args(["version", "--template", "{{.Version}}"]));
    if version.starts_with("v3.") {
        kelvin_testing::not_run(
            "helm-4",
            &format!("Helm {version} renders no notes without a cluster; Helm 4 does"),
        );
        return None;
    }
    helm.args(["install", "kelvin"]).arg(helm::chart()).args(["--namespace", "kelvin", "--dry-run=client"]);
    let said = helm::run(helm.args(["--set", settings]));
    let (_, notes) = said.split_once("\nNOTES:\n").expect("an installation prints its notes");
    Some(notes.to_owned())
}

#[test]
fn notes_name_issued_secret_and_images_without_registry() {
    let mutual = "tls.mtls=required,test.enabled=false";
    for (settings, secret) in [
        ("tls.mtls=required", "get secret kelvin-check-tls"),
        (mutual, "get secret kelvin-client-bidi-streaming-tls"),
        (&format!("{mutual},clients.bidi-streaming=null"), "get secret kelvin-client-client-streaming-tls"),
        (&format!("{mutual},client.tls.existingSecret=own"), "get secret own"),
        (&format!("{mutual},client.enabled=false"), "this release issues no certificate for a client"),
        ("server.image.registry=a.example", "NO IMAGE REGISTRY: the pods use kelvin-client:"),
        ("client.image.registry=a.example", "NO IMAGE REGISTRY: the pods use kelvin-server:"),
        ("auth.keepOnUninstall=false", "auth.keepOnUninstall has no effect"),
    ] {
        let Some(said) = notes(settings) else { return };
        assert!(said.contains(secret), "{secret:?} is not in the notes with {settings}:\n{said}");
    }
    let Some(said) = notes("image.registry=a.example") else { return };
    assert!(!said.contains("NO IMAGE REGISTRY"), "{said}");
}

#[test]
fn notes_name_what_is_missing_and_what_was_renamed() {
    let Some(said) = notes("server.drain.waitSeconds=9,server.externalService.enabled=true") else { return };
    for words in [
        "NO ALERTS: this cluster has no PrometheusRule",
        "NO IMAGE REGISTRY: the pods use kelvin-server:",
        "kubectl -n kelvin create secret generic kelvin-tokens",
        "NO TELEMETRY",
        "set client.enabled=false",
        "WARNING: server.drain.waitSeconds is now called server.drain.delaySeconds",
        "WARNING: callers outside the cluster cannot verify the server",
    ] {
        assert!(said.contains(words), "{words:?} is not in:\n{said}");
    }
}
