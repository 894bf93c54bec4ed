//! The OpenTelemetry Collector's configuration, as its chart renders it from `k8s/opentelemetry-collector.yaml`.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use kelvin_testing::not_run;
use serde_json::Value;

const COLLECTOR: &str = "otelcol-k8s";

#[test]
fn pipelines_use_exactly_the_defined_components() {
    let Some(manifests) = manifests() else { return };
    let config = config(&manifests);
    let pipelines = config["service"]["pipelines"].as_object().expect("pipelines");
    let defines =
        |role: &str, name: &str| config[role].as_object().is_some_and(|role| role.contains_key(name));
    for role in ["receivers", "processors", "exporters"] {
        let named: Vec<_> = pipelines.values().flat_map(|pipeline| names(&pipeline[role])).collect();
        for name in &named {
            assert!(defines(role, name) || defines("connectors", name), "{role}: {name} is not defined");
        }
        for name in config[role].as_object().into_iter().flat_map(|defined| defined.keys()) {
            assert!(named.contains(&name.as_str()), "{role}: {name} is in no pipeline");
        }
    }
}

#[test]
fn pipeline_of_each_signal_has_its_processors_and_exporters() {
    let Some(manifests) = manifests() else { return };
    let config = config(&manifests);
    let pipelines = &config["service"]["pipelines"];
    for signal in ["traces", "metrics", "logs"] {
        let processors = names(&pipelines[signal]["processors"]);
        assert_eq!(processors[..2], ["memory_limiter", "k8s_attributes"], "{signal}");
    }
    assert_eq!(names(&pipelines["traces"]["exporters"]), ["otlp_grpc/jaeger", "span_metrics"]);
    assert_eq!(names(&pipelines["metrics"]["receivers"]), ["otlp", "span_metrics"]);
    assert_eq!(names(&pipelines["metrics"]["exporters"]), ["otlp_http/prometheus"]);
    assert_eq!(config["connectors"]["span_metrics"]["exemplars"]["enabled"], true);
    for exporter in ["otlp_grpc/jaeger", "otlp_http/prometheus"] {
        assert!(
            config["exporters"][exporter]["sending_queue"]["queue_size"].is_u64(),
            "{exporter} is unbounded"
        );
    }
}

/// Checks names only: a dimension that no span has would add an empty label to every series.
#[test]
fn span_metric_dimensions_are_span_attributes() {
    let names =
        fs::read_to_string(root().join("crates/grpc-otel/src/names.rs")).expect("the source is readable");
    for dimension in kelvin_e2e::collector::dimensions().expect("the values have dimensions") {
        // The file contains this name too, but Kelvin's spans lack it: it exists only in `Semconv::Next`.
        assert_ne!(dimension, "rpc.status_code");
        assert!(names.contains(&format!("\"{dimension}\"")), "grpc-otel does not set {dimension} on spans");
    }
}

#[test]
fn collector_service_routes_to_own_node() {
    let Some(manifests) = manifests() else { return };
    let service = kind(&manifests, "Service");
    assert_eq!(service["metadata"]["name"], "collector-opentelemetry-collector");
    assert_eq!(service["spec"]["internalTrafficPolicy"], "Local");
    let container = &kind(&manifests, "DaemonSet")["spec"]["template"]["spec"]["containers"][0];
    let ports = container["ports"].as_array().expect("ports");
    assert!(ports.iter().all(|port| port["hostPort"].is_null()), "{ports:?}");
    assert!(!container["resources"]["limits"]["memory"].is_null(), "the memory limiter needs a memory limit");
}

#[test]
fn collector_accepts_generated_config() {
    let Some(manifests) = manifests() else { return };
    if !installed(COLLECTOR) {
        return not_run(
            COLLECTOR,
            "otelcol-k8s is not installed; the Collector's pods report an invalid configuration only at startup",
        );
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("relay.yaml");
    fs::write(&file, relay(&manifests)).expect("the folder can be written");
    let mut command = Command::new(COLLECTOR);
    command.args(["validate", "--config"]).arg(file);
    for variable in ["MY_POD_IP", "OTEL_K8S_POD_IP", "OTEL_K8S_NODE_IP"] {
        command.env(variable, "127.0.0.1");
    }
    for variable in ["K8S_NODE_NAME", "OTEL_K8S_NODE_NAME", "OTEL_K8S_NAMESPACE", "OTEL_K8S_POD_NAME"] {
        command.env(variable, "test");
    }
    let output = command.output().expect("otelcol-k8s is installed");
    assert!(output.status.success(), "{}", text(&output));
}

/// Renders the Collector's chart, or returns `None` if helm or the chart is unavailable.
///
/// The chart comes from `CHARTS` or its repository.
fn manifests() -> Option<Vec<Value>> {
    if !installed("helm") {
        not_run("helm", "helm is not installed: https://helm.sh/docs/intro/install");
        return None;
    }
    let output = Command::new("make")
        .args(["--no-print-directory", "--silent", "collector-manifests"])
        .current_dir(root())
        .env_remove("MAKEFLAGS")
        .output()
        .expect("make is installed");
    if !output.status.success() {
        not_run("collector-chart", &format!("cannot render the Collector's chart: {}", text(&output)));
        return None;
    }
    let yaml = String::from_utf8(output.stdout).expect("YAML is text");
    Some(serde_saphyr::from_multiple(&yaml).expect("helm renders YAML"))
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn config(manifests: &[Value]) -> Value {
    serde_saphyr::from_str(relay(manifests)).expect("the configuration is YAML")
}

fn relay(manifests: &[Value]) -> &str {
    kind(manifests, "ConfigMap")["data"]["relay"].as_str().expect("a configuration")
}

fn kind<'a>(manifests: &'a [Value], kind: &str) -> &'a Value {
    manifests.iter().find(|manifest| manifest["kind"] == kind).unwrap_or_else(|| panic!("no {kind}"))
}

fn names(list: &Value) -> Vec<&str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

fn installed(program: &str) -> bool {
    env::split_paths(&env::var_os("PATH").unwrap_or_default()).any(|folder| folder.join(program).is_file())
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
