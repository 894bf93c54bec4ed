//! What other tools say of the chart, for every file in `ci`.

use crate::helm;

/// kube-score's tests that are not for this chart, each with its reason.
const NOT_SCORED: [(&str, &str); 6] = [
    ("container-image-pull-policy", "tags are versions; Always would make a registry's outage ours"),
    (
        "container-resources",
        "a CPU limit stalls calls while cores are idle; requests and memory are checked in security.rs",
    ),
    (
        "deployment-has-poddisruptionbudget",
        "clients may go at any time; the servers' is checked in rendering.rs",
    ),
    (
        "deployment-has-host-podantiaffinity",
        "topologySpreadConstraints do it; they are checked in rendering.rs",
    ),
    ("service-type", "a node port is there only where the values ask for one"),
    ("deployment-replicas", "one server is what the memory store allows"),
];

#[test]
fn helm_lint_passes() {
    for values in helm::ci_values() {
        let Some(mut helm) = helm::tool("helm") else { return };
        helm::run(
            helm.arg("lint").arg("--strict").arg("--quiet").arg("--values").arg(&values).arg(helm::chart()),
        );
    }
}

#[test]
fn rendered_objects_fit_their_schemas() {
    let schemas = helm::chart().join("tests/schemas/{{ .ResourceKind }}{{ .KindSuffix }}.json");
    for values in helm::ci_values() {
        let Some(mut kubeconform) = helm::tool("kubeconform") else { return };
        let Some(yaml) = helm::text(&["--values", values.to_str().expect("a plain path")]) else { return };
        kubeconform.args(["-strict", "-schema-location"]).arg(&schemas);
        let (valid, said) = helm::feed(&mut kubeconform, &yaml);
        assert!(valid, "{}:\n{said}", values.display());
    }
}

#[test]
fn kube_score_has_no_findings() {
    for values in helm::ci_values() {
        let Some(mut score) = helm::tool("kube-score") else { return };
        let Some(yaml) = helm::text(&["--values", values.to_str().expect("a plain path")]) else { return };
        score.args(["score", "--output-format", "ci", "--exit-one-on-warning"]);
        for (test, _) in NOT_SCORED {
            score.args(["--ignore-test", test]);
        }
        // Without NetworkPolicies there is nothing to score them by.
        if values.ends_with("bare-values.yaml") {
            score.args(["--ignore-test", "pod-networkpolicy"]);
        }
        // On OpenShift the cluster chooses the user and the group.
        if values.ends_with("openshift-values.yaml") {
            score.args(["--ignore-test", "container-security-context-user-group-id"]);
        }
        let (clean, said) = helm::feed(score.arg("-"), &yaml);
        let complaints: Vec<_> =
            said.lines().filter(|line| !line.starts_with("[OK]") && !line.starts_with("[SKIPPED]")).collect();
        assert!(clean, "{}:\n{}", values.display(), complaints.join("\n"));
    }
}
