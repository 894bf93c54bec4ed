//! `values.schema.json` catches typing mistakes.

use kelvin_app::Settings as _;
use serde_json::Value;

use crate::{helm, snapshot};

const MISTAKES: [(&str, &str); 31] = [
    ("sever.replicas=1", "sever"),
    ("server.replica=1", "replica"),
    ("server.replicas=two", "/server/replicas"),
    ("server.port=70000", "/server/port"),
    ("server.settings.MAX_MESAGE_SIZE=8MiB", "MAX_MESAGE_SIZE"),
    ("client.settings.REFLECTION=false", "REFLECTION"),
    ("client.sensors=5", "sensors"),
    ("server.resources.limit.memory=1Gi", "limit"),
    ("server.resources.limits.memory=256MB", "/server/resources/limits/memory"),
    ("server.autoscaling.averageCpu=50%", "/server/autoscaling/averageCpu"),
    ("clients.chat.enabled=true", "chat"),
    ("clients.unary.sensor=5", "sensor"),
    ("clients.unary.intervalMin=1 s", "/clients/unary/intervalMin"),
    ("store.kind=redis", "/store/kind"),
    ("store.valkey.address=valkey", "/store/valkey/address"),
    ("store.valkey.acknowledge=all", "/store/valkey/acknowledge"),
    ("tls.mtls=yes", "/tls/mtls"),
    ("telemetry.endpoint=collector:4317", "/telemetry/endpoint"),
    ("telemetry.traceRatio=all", "/telemetry/traceRatio"),
    ("telemetry.protocol=http", "/telemetry/protocol"),
    ("server.externalService.type=ClusterIP", "/server/externalService/type"),
    ("server.service.ipFamilies={v6}", "/server/service/ipFamilies/0"),
    ("server.image.digest=latest", "/server/image/digest"),
    ("tls.external.duration=90d", "/tls/external/duration"),
    ("client.extraVolume=1", "extraVolume"),
    ("server.extraEnv[0].name=5", "/server/extraEnv/0/name"),
    ("tls.ipAddresses={example.org}", "/tls/ipAddresses/0"),
    ("auth.keepOnUninstall=null", "keepOnUninstall"),
    ("store.valkey.address=fd00::1:6379", "/store/valkey/address"),
    ("networkPolicy.from[0].podselector.matchLabels.a=b", "podselector"),
    ("dashboards.jaegerUrl=jaeger:16686", "/dashboards/jaegerUrl"),
];

#[test]
fn typing_mistakes_are_refused() {
    for (setting, place) in MISTAKES {
        let Some(mut helm) = helm::template(&["--set", setting]) else { return };
        let (rendered, said) = helm::outcome(&mut helm);
        assert!(!rendered, "{setting} should be refused");
        let named = said.contains(place) || said.contains(&place[1..].replace('/', "."));
        assert!(named, "{setting} should name {place}, but says:\n{said}");
    }
}

/// Every value is in the schema, and nothing else is: a value that is renamed takes its schema along.
#[test]
fn schema_and_values_name_the_same() {
    let read = |file| std::fs::read_to_string(helm::chart().join(file)).expect("the chart is complete");
    let values: Value = serde_saphyr::from_str(&read("values.yaml")).expect("values.yaml is YAML");
    let schema: Value = serde_json::from_str(&read("values.schema.json")).expect("the schema is JSON");
    compare("values", &values, &schema, &schema);
}

/// The names of further settings are those of the programs, former names included: a release that sets one upgrades.
#[test]
fn settings_are_those_of_the_programs() {
    let path = helm::chart().join("values.schema.json");
    let mut text = std::fs::read_to_string(&path).expect("a schema");
    for (definition, settings, renamed) in [
        ("serverSettings", kelvin_server::Config::SETTINGS, kelvin_server::Config::RENAMED),
        ("clientSettings", kelvin_client::Config::SETTINGS, kelvin_client::Config::RENAMED),
    ] {
        let variables =
            settings.iter().map(|setting| setting.variable).chain(renamed.iter().map(|(old, _)| *old));
        let names: Vec<_> = variables.filter_map(|variable| variable.strip_prefix("KELVIN_")).collect();
        // The list in the file, in lines of at most 120 characters.
        let mut lines = vec![String::from("         ")];
        for name in names {
            let item = format!(" \"{name}\",");
            if lines.last().is_some_and(|line| line.len() + item.len() > 120) {
                lines.push(String::from("         "));
            }
            lines.last_mut().expect("a line").push_str(&item);
        }
        let (before, rest) = text.split_once(&format!("\"{definition}\": {{")).expect("a definition");
        let (head, rest) = rest.split_once("\"enum\": [").expect("names");
        let (_, after) = rest.split_once(']').expect("the names end");
        let list = lines.join("\n");
        text = format!(
            "{before}\"{definition}\": {{{head}\"enum\": [\n{}\n        ]{after}",
            list.trim_end_matches(',')
        );
    }
    snapshot::compare(&path, &text);
}

/// A schema with what it refers to, and with the properties that it shares with others.
fn resolve(schema: &Value, root: &Value) -> Value {
    let followed = |reference: &Value| {
        let pointer = reference["$ref"].as_str()?.trim_start_matches('#');
        Some(root.pointer(pointer).expect("a reference leads somewhere").clone())
    };
    let mut schema = followed(schema).unwrap_or_else(|| schema.clone());
    for shared in schema["allOf"].as_array().cloned().into_iter().flatten() {
        let shared = followed(&shared).expect("a reference");
        let shared = shared["properties"].as_object().expect("properties").clone();
        schema["properties"].as_object_mut().expect("properties").extend(shared);
    }
    schema
}

fn compare(path: &str, values: &Value, schema: &Value, root: &Value) {
    let schema = resolve(schema, root);
    let (Some(values), Some(properties)) = (values.as_object(), schema["properties"].as_object()) else {
        return;
    };
    if values.is_empty() {
        return; // filled by who needs it
    }
    // A parent chart puts into `global` what is for all of its charts.
    let closed = schema["additionalProperties"] == false || schema["unevaluatedProperties"] == false;
    assert!(closed || path == "values.global", "{path} takes anything");
    for (name, value) in values {
        let property = properties.get(name).unwrap_or_else(|| panic!("{path}.{name} is not in the schema"));
        compare(&format!("{path}.{name}"), value, property, root);
    }
    // A kind of client may set all that `client` has; `enabled` is a parent chart's; deprecated names are accepted.
    if !path.starts_with("values.clients.") {
        for (name, property) in properties.iter().filter(|(name, _)| path != "values" || *name != "enabled") {
            let expected = values.contains_key(name) || property["deprecated"] == true;
            assert!(expected, "{path}.{name} is in the schema alone");
        }
    }
}
