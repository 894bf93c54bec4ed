//! Helm and the other tools.

use std::{
    env, fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use kelvin_testing::not_run;
use serde_json::Value;

use crate::object::Object;

/// What a cluster with cert-manager and the Prometheus operator offers.
const APIS: [&str; 3] =
    ["apiregistration.k8s.io/v1", "cert-manager.io/v1", "monitoring.coreos.com/v1/PrometheusRule"];

/// Values of a release whose telemetry is exported.
pub(crate) const EXPORTS: [&str; 2] = [
    "--set",
    "telemetry.endpoint=http://collector:4317,networkPolicy.collector[0].ipBlock.cidr=192.0.2.0/24",
];

/// The chart's folder.
pub(crate) fn chart() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests lie in the chart").to_owned()
}

/// The values that stand for how the chart is used, by file.
pub(crate) fn ci_values() -> Vec<PathBuf> {
    files(&chart().join("ci"))
}

/// A rendering with the values of a file in `ci`.
pub(crate) fn render_ci(name: &str) -> Option<Vec<Object>> {
    render(&["--values", &ci(name)])
}

/// The path of a file in `ci`.
pub(crate) fn ci(name: &str) -> String {
    let path = chart().join(format!("ci/{name}-values.yaml"));
    path.to_str().expect("a plain path").to_owned()
}

/// The files of a folder, by name.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<_> = entries.map(|entry| entry.expect("a folder can be listed").path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{} is empty", folder.display());
    files
}

/// A tool, or nothing if it is not installed: then the test that asks for it is not run and says so. In CI it fails.
pub(crate) fn tool(name: &str) -> Option<Command> {
    let found =
        env::split_paths(&env::var_os("PATH").unwrap_or_default()).any(|folder| folder.join(name).is_file());
    if found {
        return Some(Command::new(name));
    }
    let get = match name {
        "go" => "https://go.dev/doc/install",
        "helm" => "https://helm.sh/docs/intro/install",
        "kubeconform" => "https://github.com/yannh/kubeconform#installation",
        "kube-score" => "https://github.com/zegl/kube-score#installation",
        "promtool" => "it comes with Prometheus: https://prometheus.io/download",
        _ => panic!("nobody knows where {name} is to be had"),
    };
    let reason = format!("{name} is not installed; get it: {get}");
    not_run(name, &reason);
    None
}

/// Runs a command that must succeed.
pub(crate) fn run(command: &mut Command) -> String {
    let (ok, text) = outcome(command);
    assert!(ok, "{command:?} failed:\n{text}");
    text
}

/// Whether a command succeeded, and what it said.
pub(crate) fn outcome(command: &mut Command) -> (bool, String) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    (output.status.success(), said(&output))
}

/// Gives a command its input and waits for its end.
pub(crate) fn feed(command: &mut Command, input: &str) -> (bool, String) {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    // Small enough for the pipes: these tools read all before they write.
    child.stdin.take().expect("it is piped").write_all(input.as_bytes()).expect("the tool reads its input");
    let output = child.wait_with_output().expect("the tool ends");
    (output.status.success(), said(&output))
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// `helm template` in a cluster that has what the chart wants.
pub(crate) fn template(arguments: &[&str]) -> Option<Command> {
    let apis: Vec<_> = APIS.iter().flat_map(|api| ["--api-versions", api]).collect();
    bare_template(&[&apis[..], arguments].concat())
}

/// `helm template` in a cluster that has nothing but Kubernetes.
pub(crate) fn bare_template(arguments: &[&str]) -> Option<Command> {
    let mut helm = tool("helm")?;
    helm.args(["template", "kelvin"]).arg(chart()).args(["--namespace", "kelvin"]).args(arguments);
    Some(helm)
}

/// The text of a rendering.
pub(crate) fn text(arguments: &[&str]) -> Option<String> {
    let mut helm = template(arguments)?;
    let output = helm.output().expect("helm runs");
    assert!(output.status.success(), "{helm:?} failed:\n{}", said(&output));
    // Helm warns on standard error; only what it renders is of interest here.
    Some(String::from_utf8(output.stdout).expect("YAML is UTF-8"))
}

/// The objects of a rendering.
pub(crate) fn render(arguments: &[&str]) -> Option<Vec<Object>> {
    text(arguments).map(|text| Object::parse(&text))
}

/// The dashboards by the names of their files.
pub(crate) fn dashboards() -> Vec<(String, Value)> {
    let files = files(&chart().join("dashboards"));
    files
        .into_iter()
        .map(|path| {
            let name = path.file_stem().expect("a file").to_string_lossy().into_owned();
            let text = fs::read_to_string(&path).expect("a file");
            (name, serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
        })
        .collect()
}
