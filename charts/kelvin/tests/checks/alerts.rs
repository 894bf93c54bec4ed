//! Alerts: each says what to do, and each has a unit test in `alerts/`.

use std::{collections::BTreeSet, fs, path::Path};

use serde_json::{Value, json};

use crate::{
    helm,
    object::{Object, all},
};

const GRAFANA: &str = "https://grafana.example.org/";

/// All rules, those about a shared store included, with links to Grafana.
pub(crate) fn groups() -> Option<Vec<Value>> {
    let settings = format!("store.kind=valkey,store.valkey.address=valkey:6379,alerts.grafanaUrl={GRAFANA}");
    let objects = helm::render(&[&helm::EXPORTS[..], &["--set", &settings]].concat())?;
    let of_object =
        |object: &Object| object.at("/spec/groups").as_array().expect("a rule has groups").clone();
    Some(all(&objects, "PrometheusRule").flat_map(of_object).collect())
}

fn alerts(groups: &[Value]) -> impl Iterator<Item = &Value> {
    let rules = groups.iter().flat_map(|group| group["rules"].as_array().expect("a group has rules"));
    rules.filter(|rule| rule["alert"].is_string())
}

#[test]
fn alerts_say_how_bad_it_is_and_what_to_do() {
    let Some(groups) = groups() else { return };
    for alert in alerts(&groups) {
        let name = &alert["alert"];
        let severity = alert["labels"]["severity"].as_str().unwrap_or_default();
        assert!(["critical", "warning"].contains(&severity), "{name} is {severity:?}");
        for annotation in ["summary", "description", "runbook"] {
            let text = alert["annotations"][annotation].as_str().unwrap_or_default();
            assert!(text.len() > 20 && text.len() < 800, "{name} has no useful {annotation}: {text:?}");
        }
    }
}

#[test]
fn alerts_fire_when_they_should_and_only_then() {
    let Some(mut groups) = groups() else { return };
    let Some(mut promtool) = helm::tool("promtool") else { return };
    // promtool compares all annotations; of these, only the description depends on what happened.
    for rule in groups.iter_mut().flat_map(|group| group["rules"].as_array_mut().expect("a group has rules"))
    {
        if rule["alert"].is_string() {
            rule["annotations"] = json!({"description": rule["annotations"]["description"]});
        }
    }
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    fs::write(folder.join("rules.yaml"), json!({"groups": groups}).to_string())
        .expect("a folder to write to");
    let tests = helm::files(&helm::chart().join("tests/alerts"));
    promtool.current_dir(folder).args(["test", "rules"]);
    for test in &tests {
        let name = test.file_name().expect("a file");
        fs::copy(test, folder.join(name)).expect("a folder to write to");
        promtool.arg(name);
    }
    helm::run(&mut promtool);

    let (mut fire, mut silent) = (BTreeSet::new(), BTreeSet::new());
    for test in tests {
        let tests: Value = serde_saphyr::from_str(&fs::read_to_string(test).expect("a file")).expect("YAML");
        for case in tests["tests"]
            .as_array()
            .expect("tests")
            .iter()
            .filter_map(|test| test["alert_rule_test"].as_array())
            .flatten()
        {
            let name = case["alertname"].as_str().expect("a name").to_owned();
            if case["exp_alerts"].is_array() {
                fire.insert(name)
            } else {
                silent.insert(name)
            };
        }
    }
    for alert in alerts(&groups) {
        let name = alert["alert"].as_str().expect("a name");
        assert!(
            fire.contains(name) && silent.contains(name),
            "{name} needs a test in which it fires, and one in which it does not"
        );
    }
}

/// `alerts.runbookUrl` is a page of this repository by default: each alert has its section there.
#[test]
fn every_alert_has_the_additional_labels() {
    let rules = |settings| helm::render(&["--set", settings]);
    let Some(objects) = rules(
        "alerts.additionalLabels.team=climate,telemetry.endpoint=,podMonitor.enabled=true,\
        podMonitor.from[0].podSelector.matchLabels.a=b",
    ) else {
        return;
    };
    let groups: Vec<_> =
        all(&objects, "PrometheusRule").map(|rule| rule.at("/spec/groups").clone()).collect();
    let alerts: Vec<_> =
        groups.iter().flat_map(|groups| alerts(groups.as_array().expect("groups"))).collect();
    assert!(!alerts.is_empty());
    for alert in alerts {
        let labels = &alert["labels"];
        assert_eq!((&labels["team"], &labels["namespace"]), (&json!("climate"), &json!("kelvin")), "{alert}");
        assert!(labels["severity"].is_string(), "{alert}");
    }
}

#[test]
fn runbook_url_leads_to_a_section() {
    let Some(groups) = groups() else { return };
    let page = helm::chart().join("../../docs/runbooks.md");
    let page = fs::read_to_string(&page).expect("a page of runbooks");
    let sections: BTreeSet<_> = page.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    let names: BTreeSet<_> = alerts(&groups).filter_map(|alert| alert["alert"].as_str()).collect();
    assert_eq!(sections, names, "sections of docs/runbooks.md and alerts");
    for alert in alerts(&groups) {
        let name = alert["alert"].as_str().expect("a name");
        let url = alert["annotations"]["runbook_url"].as_str().unwrap_or_default();
        let anchor = format!("/docs/runbooks.md#{}", name.to_lowercase());
        assert!(url.ends_with(&anchor), "{name} leads to {url:?}");
    }
}

#[test]
fn dashboard_url_leads_to_a_dashboard_and_its_namespace() {
    let Some(groups) = groups() else { return };
    let dashboards = helm::dashboards();
    for alert in alerts(&groups) {
        let url = alert["annotations"]["dashboard_url"].as_str().unwrap_or_default();
        let uid = url.strip_prefix(GRAFANA).and_then(|path| path.strip_prefix("d/"));
        let uid = uid.and_then(|path| path.strip_suffix("?var-namespace=kelvin"));
        let known = dashboards.iter().any(|(_, dashboard)| dashboard["uid"].as_str() == uid);
        assert!(known, "{} leads to {url:?}", alert["alert"]);
    }
}

#[test]
fn thresholds_come_from_the_values() {
    let settings =
        "alerts.latencySeconds=0.5,alerts.objective=0.99,alerts.certificateDays=0.75,store.maxSensors=7";
    let Some(text) = helm::text(&[&helm::EXPORTS[..], &["--set", settings]].concat()) else { return };
    for threshold in ["> 0.5", "> 0.144", "> 0.06\n", "< 64800", "/ 7 > 0.9"] {
        assert!(text.contains(threshold), "no rule has {threshold:?}");
    }
}
