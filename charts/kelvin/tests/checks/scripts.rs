//! Scripts of `mk/` that install and package the chart, with functions in place of the tools that need a cluster.

use std::{path::Path, process::Command};

use crate::{
    helm,
    object::{Object, pod},
};

/// Runs a command line of bash at the root of the repository.
fn shell(line: &str) -> (bool, String) {
    helm::outcome(Command::new("bash").current_dir(helm::chart().join("../..")).args(["-c", line]))
}

#[test]
fn existing_namespaces_are_left_alone_and_other_errors_fail() {
    let exists = r#"echo 'Error from server (AlreadyExists): namespaces "kelvin" already exists' >&2"#;
    let denied = "echo 'Error from server (Forbidden): namespaces is forbidden' >&2";
    for (kubectl, succeeds, words) in [
        ("echo namespace/kelvin created".to_owned(), true, ""),
        (format!("{exists}; return 1"), true, ""),
        (format!("{exists}; {denied}; return 1"), false, "Error from server (Forbidden)"),
        ("return 1".to_owned(), false, "failed with exit code 1"),
    ] {
        let (succeeded, said) = shell(&format!(
            "kubectl() {{ {kubectl}; }}; export -f kubectl; mk/namespaces kubectl k8s/namespaces.yaml"
        ));
        assert_eq!(succeeded, succeeds, "{kubectl}:\n{said}");
        assert!(said.contains(words) && !said.contains("AlreadyExists"), "{kubectl}:\n{said}");
    }
}

#[test]
fn failed_helm_is_shown() {
    let helm = "helm() { echo 'Error: denied by the registry' >&2; return 1; }; export -f helm";
    for script in [
        "mk/push-chart kelvin.tgz registry.example.org",
        "mk/kelvin-ca helm kubectl kelvin charts/kelvin",
        "mk/app-version jaeger",
        "mk/upgrade-crds helm kubectl prometheus monitoring kube-prometheus-stack",
        "mk/image-registry helm kelvin charts/kelvin",
    ] {
        let (succeeded, said) = shell(&format!("{helm}; {script}"));
        assert!(!succeeded && said.contains("denied by the registry"), "{script}:\n{said}");
    }
}

/// Otherwise helm waits for pods in `ImagePullBackOff` until its timeout.
#[test]
fn images_without_registry_are_reported_before_install() {
    let Some(_) = helm::tool("helm") else { return };
    let script = "mk/image-registry helm kelvin charts/kelvin --namespace kelvin --values k8s/kelvin.yaml";
    let (succeeded, said) = shell(script);
    assert!(!succeeded && said.contains("no images are published under these names"), "{said}");
    for setting in ["image.registry=registry.example.org", "image.pullPolicy=Never"] {
        let (succeeded, said) = shell(&format!("{script} --set {setting}"));
        assert!(succeeded, "{setting}:\n{said}");
    }
}

#[test]
fn packaged_chart_pins_its_images_and_names_its_repository() {
    const OWNER: &str = "someone";
    let version = env!("CARGO_PKG_VERSION");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("package");
    let archive = folder.join(format!("kelvin-{version}.tgz"));
    let archive = archive.to_str().expect("a plain path");
    let run = |arguments: &[&str]| helm::tool("helm").map(|mut helm| helm::outcome(helm.args(arguments)));
    let Some(_) = helm::tool("helm") else { return };

    let digest = format!("sha256:{}", "0".repeat(64));
    let (packed, said) =
        shell(&format!("mk/package-chart {} {version} ghcr.io/{OWNER} {digest} {digest}", folder.display()));
    assert!(packed, "{said}");

    // A mirror keeps the owner's path.
    let render =
        |setting: &str| run(&["template", "kelvin", archive, "--namespace", "kelvin", "--set", setting]);
    for (setting, registry) in
        [("test.enabled=true", "ghcr.io"), ("global.imageRegistry=mirror.example.org", "mirror.example.org")]
    {
        let Some((_, yaml)) = render(setting) else { return };
        let server = pod(&Object::parse(&yaml), "kelvin-server");
        let image = format!("{registry}/{OWNER}/kelvin-server:{version}@{digest}");
        assert_eq!(server.text("/spec/containers/0/image"), image);
    }
    let Some((rendered, said)) = render("image.tag=v2") else { return };
    assert!(!rendered && said.contains("the tag v2 of the server's image has no effect"), "{said}");
    let Some((rendered, said)) = render("image.tag=v2,server.image.digest=,client.image.digest=") else {
        return;
    };
    assert!(rendered && said.contains(&format!("ghcr.io/{OWNER}/kelvin-server:v2")), "{said}");

    let Some((_, readme)) = run(&["show", "readme", archive]) else { return };
    assert!(!readme.contains("](../.."), "{readme}");
    let link = format!("](https://github.com/{OWNER}/kelvin/blob/v{version}/docs/kubernetes.md)");
    assert!(readme.contains(&link), "{readme}");
    let Some((_, metadata)) = run(&["show", "chart", archive]) else { return };
    assert!(
        ![&readme, &metadata].iter().any(|text| text.contains(env!("CARGO_PKG_REPOSITORY"))),
        "{metadata}"
    );
    let image = format!("image: \"ghcr.io/{OWNER}/kelvin-client:{version}@{digest}\"");
    assert!(metadata.contains("artifacthub.io/images") && metadata.contains(&image), "{metadata}");
}
