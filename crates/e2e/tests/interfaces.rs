//! Addresses that must be the same in several files.

use std::{fs, path::Path};

use serde_json::Value;

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn exemplar_link_matches_address_printed_by_make_ui() {
    let values: Value = serde_saphyr::from_str(&read("k8s/kube-prometheus-stack.yaml")).expect("YAML");
    let sources = values["grafana"]["additionalDataSources"].as_array().expect("data sources");
    let prometheus = sources.iter().find(|source| source["uid"] == "prometheus").expect("Prometheus");
    let link = prometheus["jsonData"]["exemplarTraceIdDestinations"][0]["url"].as_str().expect("a link");
    // `$$` escapes a `$` in Grafana's provisioning files.
    let origin = link.strip_suffix("/trace/$${__value.raw}").expect("Jaeger's page of a trace");
    let script = read("mk/ui");
    let offered =
        script.lines().find(|line| line.starts_with("offer Jaeger ")).expect("make ui offers Jaeger");
    assert!(offered.contains(&format!("\"{origin}/")), "{link} is not at the address in {offered:?}");
}
