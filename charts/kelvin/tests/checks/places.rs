//! Where the chart is rendered: by `GitOps` tools without a cluster, under a parent chart, with values that are null.

use std::{fs, path::Path};

use serde_json::Value;

use crate::{
    helm,
    object::{Object, all, pod},
};

/// Without a cluster nothing is known of it, and each rendering must be the same.
#[test]
fn rendering_without_cluster_is_identical_and_has_no_secret() {
    let (Some(mut first), Some(mut second)) = (helm::bare_template(&[]), helm::bare_template(&[])) else {
        return;
    };
    let first = helm::run(&mut first);
    assert_eq!(first, helm::run(&mut second));
    let objects = Object::parse(&first);
    assert_eq!(all(&objects, "Secret").count(), 0);
    let volumes = pod(&objects, "kelvin-server").at("/spec/volumes").clone();
    let mut names = volumes.as_array().expect("volumes").iter().map(|volume| &volume["secret"]["secretName"]);
    assert!(names.any(|name| name == "kelvin-tokens"), "the pods wait for the tokens");
}

#[test]
fn parent_chart_switches_the_sub_chart_and_its_registry() {
    let chart = helm::chart();
    let parent = Path::new(env!("CARGO_TARGET_TMPDIR")).join("parent");
    fs::create_dir_all(parent.join("charts")).expect("a folder to write to");
    let (Some(mut pack), Some(mut on), Some(mut off)) =
        (helm::tool("helm"), helm::tool("helm"), helm::tool("helm"))
    else {
        return;
    };
    helm::run(pack.arg("package").arg(&chart).arg("--destination").arg(parent.join("charts")));
    let metadata = format!(
        "apiVersion: v2\nname: parent\nversion: 0.1.0\ndependencies:\n  - {{name: kelvin, version: {}, condition: kelvin.enabled}}\n",
        env!("CARGO_PKG_VERSION")
    );
    fs::write(parent.join("Chart.yaml"), metadata).expect("a file to write");
    let values: Value =
        serde_saphyr::from_str(&fs::read_to_string(helm::ci("subchart")).expect("values")).expect("YAML");
    let mut below = values.clone();
    below.as_object_mut().expect("a map").remove("global");
    let values = serde_json::json!({"global": values["global"], "kelvin": below});
    fs::write(parent.join("values.yaml"), values.to_string()).expect("a file to write");
    let objects = Object::parse(&helm::run(on.args(["template", "release"]).arg(&parent)));
    let server = pod(&objects, "release-kelvin-server");
    assert!(server.text("/spec/containers/0/image").starts_with("registry.example.org/kelvin-server:"));
    assert_eq!(server.at("/spec/imagePullSecrets/0/name"), "registry");
    let nothing =
        helm::run(off.args(["template", "release"]).arg(&parent).args(["--set", "kelvin.enabled=false"]));
    assert!(!nothing.contains("kind:"), "{nothing}");
}

/// Helm accepts a release or namespace that is a number, and Kubernetes wants text.
#[test]
fn names_that_look_like_numbers_stay_text() {
    let Some(mut helm) = helm::tool("helm") else { return };
    helm.args(["template", "77"]).arg(helm::chart()).args(["--namespace", "12345", "--set-string"]);
    helm.arg(
        "fullnameOverride=true,nameOverride=1e3,image.pullSecrets={2023},auth.existingSecret=0x1F,tls.mtls=required,\
        tls.existingSecret=2024,tls.caSecret=2025,client.tls.existingSecret=2026,serviceAccount.name=2027,\
        store.valkey.existingSecret=2028,store.kind=valkey,store.valkey.address=a:1,dashboards.namespace=2029,\
        telemetry.headersSecret.name=2030,telemetry.caSecret=2031,telemetry.endpoint=https://a,\
        store.valkey.tls.existingSecret=2032,tls.external.existingSecret=2033",
    );
    let collector = "networkPolicy.collector[0].podSelector.matchLabels.a=b,podMonitor.from[0].podSelector.matchLabels.a=b";
    helm.args(["--set", collector, "--set", "alerts.enabled=true,podMonitor.enabled=true"]);
    for object in Object::parse(&helm::run(&mut helm)) {
        all_text("", &object.0);
        assert!(["12345", "2029"].contains(&object.text("/metadata/namespace")), "{object:?}");
    }
}

/// Names, namespaces and labels are text, wherever they are.
fn all_text(path: &str, value: &Value) {
    for (key, value) in value.as_object().into_iter().flatten() {
        let path = format!("{path}/{key}");
        if ["name", "namespace", "secretName", "serviceAccountName", "image", "service_name"]
            .contains(&&**key)
        {
            assert!(value.is_string(), "{path} is {value}");
        }
        if ["labels", "matchLabels", "annotations"].contains(&&**key) {
            let mut texts = value.as_object().into_iter().flatten();
            assert!(texts.all(|(_, text)| text.is_string()), "{path} is {value}");
        }
        if !value.is_null() {
            all_text(&path, value);
        }
    }
    for value in value.as_array().into_iter().flatten() {
        all_text(path, value);
    }
}

/// A map or list that is null is as if not set, or is refused by its name.
#[test]
fn null_is_not_set_or_refused_in_plain_words() {
    let yaml = fs::read_to_string(helm::chart().join("values.yaml")).expect("the chart has values");
    let values: Value = serde_saphyr::from_str(&yaml).expect("values.yaml is YAML");
    let mut paths = Vec::new();
    collections("", &values, &mut paths);
    for path in paths {
        let Some(mut helm) = helm::template(&["--set", &format!("{path}=null")]) else { return };
        let (rendered, said) = helm::outcome(&mut helm);
        let name = path.rsplit('.').next().expect("a name");
        let missing = said.contains("missing propert") && said.contains(name)
            || said.contains(&format!("{name} is required")); // in the words of Helm 3.17
        let plain = missing || said.contains(&path) && !said.contains("nil pointer");
        assert!(rendered || plain, "{path}=null says:\n{said}");
    }
}

fn collections(path: &str, value: &Value, paths: &mut Vec<String>) {
    if !path.is_empty() && (value.is_object() || value.is_array()) {
        paths.push(path.to_owned());
    }
    for (key, value) in value.as_object().into_iter().flatten() {
        // A dot in a name would need an escape; such names are labels of Kubernetes.
        if !key.contains('.') {
            collections(&format!("{path}{}{key}", if path.is_empty() { "" } else { "." }), value, paths);
        }
    }
}
