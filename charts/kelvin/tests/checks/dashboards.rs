//! Dashboards: what makes a panel useful is there, and every query can be run.

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use serde_json::{Value, json};

use crate::{
    alerts, helm,
    object::{all, find},
};

fn array(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// Panels that ask for data, those of collapsed rows included; rows and texts do not.
fn panels(dashboard: &Value) -> impl Iterator<Item = &Value> {
    array(&dashboard["panels"])
        .flat_map(|panel| std::iter::once(panel).chain(array(&panel["panels"])))
        .filter(|panel| panel["type"] != "row" && panel["type"] != "text")
}

#[test]
fn each_is_in_a_config_map_for_the_sidecar() {
    let Some(objects) = helm::render(&[]) else { return };
    let dashboards = helm::dashboards();
    for (name, dashboard) in &dashboards {
        let map = find(&objects, "ConfigMap", &format!("kelvin-dashboard-{name}"));
        assert_eq!(map.at("/metadata/labels/grafana_dashboard"), "1");
        let text = map.text(&format!("/data/kelvin-{name}.json"));
        assert_eq!(&serde_json::from_str::<Value>(text).expect("JSON"), dashboard);
    }
    assert_eq!(all(&objects, "ConfigMap").count(), dashboards.len());
}

/// Addresses that differ from cluster to cluster, and the service that traces are searched for.
#[test]
fn links_lead_to_the_given_addresses_and_to_the_release() {
    let settings = "fullnameOverride=thermometer,dashboards.jaegerUrl=https://jaeger.example.org/ui/,\
        dashboards.prometheusUrl=https://prometheus.example.org";
    let Some(objects) = helm::render(&["--set", settings]) else { return };
    for (name, link) in [
        ("overview", "https://jaeger.example.org/ui/search?service=thermometer-server&"),
        ("overview", "https://prometheus.example.org/alerts?"),
        ("grpc-server", "https://jaeger.example.org/ui/search?service=thermometer-server&"),
        ("clients", "https://jaeger.example.org/ui/search?service=thermometer-server&"),
    ] {
        let map = find(&objects, "ConfigMap", &format!("thermometer-dashboard-{name}"));
        let text = map.text(&format!("/data/kelvin-{name}.json"));
        assert!(text.contains(&format!("\"{link}")), "{name} has no {link}");
        assert!(!text.contains("localhost") && !text.contains("=kelvin-server"), "{name}");
    }
}

#[test]
fn dashboards_have_distinct_uids_and_filters() {
    let dashboards = helm::dashboards();
    let identities: BTreeSet<_> =
        dashboards.iter().map(|(_, dashboard)| dashboard["uid"].as_str().expect("a uid")).collect();
    assert_eq!(identities.len(), dashboards.len());
    for (name, dashboard) in &dashboards {
        assert!(dashboard["title"].as_str().is_some_and(|title| title.starts_with("Kelvin: ")), "{name}");
        let variables: Vec<_> = array(&dashboard["templating"]["list"])
            .filter_map(|variable| variable["name"].as_str())
            .collect();
        // A link between dashboards takes the variables along: a server's job and pod would leave the clients' empty.
        let (job, pod) = if name == "clients" { ("client_job", "client_pod") } else { ("job", "pod") };
        assert_eq!(variables[..4], ["datasource", "namespace", job, pod], "{name}");
        let ids: BTreeSet<_> =
            array(&dashboard["panels"]).map(|panel| panel["id"].as_u64().expect("an id")).collect();
        assert_eq!(ids.len(), array(&dashboard["panels"]).count(), "{name}: two panels have the same id");
    }
}

#[test]
fn panels_say_what_they_show() {
    for (name, dashboard) in helm::dashboards() {
        for panel in panels(&dashboard) {
            let title = panel["title"].as_str().unwrap_or_default();
            let place = format!("{name}: {title:?}");
            assert!(!title.is_empty(), "{place} has no title");
            assert!(
                panel["description"].as_str().is_some_and(|text| text.len() > 20),
                "{place} has no description"
            );
            assert!(panel["fieldConfig"]["defaults"]["unit"].is_string(), "{place} has no unit");
            assert_eq!(panel["datasource"], json!({"type": "prometheus", "uid": "${datasource}"}), "{place}");
            assert!(array(&panel["targets"]).count() > 0, "{place} asks for nothing");
            for target in array(&panel["targets"]) {
                let legend = target["legendFormat"].as_str().unwrap_or_default();
                assert!(!legend.is_empty(), "{place}: a query has no legend");
                let expr = target["expr"].as_str().unwrap_or_default();
                let scoped = expr.contains("$namespace") || expr.contains("otelcol_");
                assert!(
                    scoped && !expr.contains("kelvin/"),
                    "{place} is tied to one release, or to none: {expr}"
                );
            }
        }
    }
}

/// By Grafana's foundation SDK, in Go: no unknown field, and all that the schema requires.
#[test]
fn dashboards_pass_strict_validation() {
    let Some(mut go) = helm::tool("go") else { return };
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let checker = folder.join("strict");
    go.current_dir(helm::chart().join("tests/strict")).args(["build", "-o"]).arg(&checker).arg(".");
    helm::run(&mut go);
    helm::run(Command::new(&checker).args(helm::files(&helm::chart().join("dashboards"))));

    let overview = fs::read_to_string(helm::chart().join("dashboards/overview.json")).expect("a dashboard");
    let broken = folder.join("broken.json");
    fs::write(&broken, overview.replace("\"graphMode\"", "\"graphMood\"")).expect("a folder to write to");
    let (valid, said) = helm::outcome(Command::new(&checker).arg(&broken));
    assert!(
        !valid && said.contains("unexpected field 'graphMood'"),
        "an unknown field was not found: {said}"
    );
}

/// No two panels lie on each other, and none leaves the grid of 24 columns.
#[test]
fn panels_have_room() {
    for (name, dashboard) in helm::dashboards() {
        let mut taken = BTreeSet::new();
        for panel in array(&dashboard["panels"]) {
            let side = |side| panel["gridPos"][side].as_u64().expect("a place in the grid");
            for x in side("x")..side("x") + side("w") {
                assert!(x < 24, "{name}: {} is too wide", panel["title"]);
                for y in side("y")..side("y") + side("h") {
                    assert!(taken.insert((x, y)), "{name}: {} lies on another panel", panel["title"]);
                }
            }
        }
    }
}

/// Traces are found by exemplars, which come from the Collector's span metrics.
/// Where metrics are scraped, or exported to something else, these panels stay empty.
#[test]
fn panels_on_span_metrics_name_the_collector() {
    let dashboards = helm::dashboards();
    let of_spans: Vec<_> = dashboards
        .iter()
        .flat_map(|(_, dashboard)| panels(dashboard))
        .filter(|panel| panel["targets"].to_string().contains("traces_span_metrics"))
        .collect();
    assert!(!of_spans.is_empty());
    for panel in of_spans {
        assert!(panel["description"].to_string().contains("OpenTelemetry Collector"), "{}", panel["title"]);
    }
}

#[test]
fn latency_leads_to_traces() {
    let exemplars = |dashboard: &Value| {
        let targets = panels(dashboard).flat_map(|panel| array(&panel["targets"]));
        targets.filter(|target| target["exemplar"] == true).all(|target| {
            target["expr"]
                .as_str()
                .is_some_and(|expr| expr.contains("traces_span_metrics_duration_milliseconds_bucket"))
        })
    };
    let dashboards = helm::dashboards();
    assert!(dashboards.iter().all(|(_, dashboard)| exemplars(dashboard)), "these metrics have no exemplars");
    for wanted in ["grpc-server", "clients"] {
        let (_, dashboard) =
            dashboards.iter().find(|(name, _)| name == wanted).expect("the dashboard is there");
        let mut targets = panels(dashboard).flat_map(|panel| array(&panel["targets"]));
        assert!(targets.any(|target| target["exemplar"] == true), "{wanted} has no panel with exemplars");
    }
}

fn queries() -> Vec<String> {
    let mut queries = Vec::new();
    for (_, dashboard) in helm::dashboards() {
        for target in panels(&dashboard).flat_map(|panel| array(&panel["targets"])) {
            let expr = target["expr"].as_str().expect("a query");
            let values = [
                ("$__rate_interval", "1m"),
                ("$__range", "1h"),
                ("$namespace", "kelvin"),
                ("$job", ".*"),
                ("$pod", ".*"),
                ("$client_job", ".*"),
                ("$client_pod", ".*"),
                ("$sensor", ".*"),
            ];
            queries
                .push(values.iter().fold(expr.to_owned(), |expr, (name, value)| expr.replace(name, value)));
        }
    }
    queries
}

#[test]
fn every_query_is_promql() {
    let Some(mut promtool) = helm::tool("promtool") else { return };
    let rules: Vec<_> = queries()
        .iter()
        .enumerate()
        .map(|(number, expr)| json!({"record": format!("query_{number}"), "expr": expr}))
        .collect();
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("queries.yaml");
    fs::write(&path, json!({"groups": [{"name": "dashboards", "rules": rules}]}).to_string())
        .expect("a folder to write to");
    helm::run(promtool.args(["check", "rules", "--lint=none"]).arg(path));
}

/// What dashboards and alerts ask for is what the programs export: the names of the instruments stand in their sources.
#[test]
fn every_metric_of_ours_exists() {
    let crates = helm::chart().join("../../crates");
    let mut instruments = BTreeSet::new();
    for program in helm::files(&crates) {
        collect_instruments(&program.join("src"), &mut instruments);
    }
    assert!(instruments.contains("kelvin_sensors"), "no instruments found in {}", crates.display());
    let mut expressions = queries();
    let groups = alerts::groups().unwrap_or_default();
    expressions.extend(groups.iter().map(|group| group.to_string().replace("\\n", " ")));
    for name in expressions.iter().flat_map(|expression| words(expression)).filter(|word| is_ours(word, '_'))
    {
        let known = instruments.iter().any(|instrument| suffixed(name, instrument));
        assert!(known, "nothing exports {name}");
    }
}

/// Whether a metric or an attribute is of a namespace that our programs export.
fn is_ours(name: &str, separator: char) -> bool {
    let namespace = name.split_once(separator).map(|(namespace, _)| namespace);
    namespace.is_some_and(|namespace| ["db", "grpc", "kelvin", "process"].contains(&namespace))
}

/// Whether a metric in Prometheus is this instrument: its unit and kind are added to the name.
fn suffixed(metric: &str, instrument: &str) -> bool {
    metric.strip_prefix(instrument).is_some_and(|added| {
        let kind = ["_total", "_bucket", "_sum", "_count"].iter().find_map(|kind| added.strip_suffix(kind));
        ["", "_seconds", "_celsius", "_bytes"].contains(&kind.unwrap_or(added))
    })
}

/// Names as `PromQL` has them: with the colons of recorded rules.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':')
}

fn collect_instruments(folder: &Path, instruments: &mut BTreeSet<String>) {
    for path in helm::files(folder) {
        if path.is_dir() {
            collect_instruments(&path, instruments);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let source = fs::read_to_string(&path).expect("a source");
            let literals =
                source.split('"').filter(|literal| is_ours(literal, '.') && !literal.contains(' '));
            instruments.extend(literals.map(|literal| literal.replace('.', "_")));
        }
    }
}
