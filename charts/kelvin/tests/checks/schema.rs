//! `values.schema.json` catches typing mistakes.

use serde_json::Value;

use crate::helm;

const MISTAKES: [(&str, &str); 20] = [
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
    ("networkPolicy.from[0].podselector.matchLabels.a=b", "podselector"),
];

#[test]
fn typing_mistakes_are_caught() {
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

/// The names of further settings are those of the programs.
#[test]
fn settings_are_those_of_the_programs() {
    let schema = std::fs::read_to_string(helm::chart().join("values.schema.json")).expect("a schema");
    let schema: Value = serde_json::from_str(&schema).expect("the schema is JSON");
    for (definition, settings) in [
        ("serverSettings", kelvin_server::Config::SETTINGS),
        ("clientSettings", kelvin_client::Config::SETTINGS),
    ] {
        let names: Vec<_> =
            settings.iter().filter_map(|setting| setting.variable.strip_prefix("KELVIN_")).collect();
        let known = &schema["$defs"][definition]["propertyNames"]["enum"];
        assert_eq!(
            known,
            &Value::from(names),
            "values.schema.json, {definition}: left is there, right should be"
        );
    }
}

fn compare(path: &str, values: &Value, schema: &Value, root: &Value) {
    let schema = match schema["$ref"].as_str() {
        Some(reference) => {
            root.pointer(reference.trim_start_matches('#')).expect("a reference leads somewhere")
        }
        None => schema,
    };
    let (Some(values), Some(properties)) = (values.as_object(), schema["properties"].as_object()) else {
        return;
    };
    if values.is_empty() {
        return; // filled by who needs it
    }
    assert_eq!(schema["additionalProperties"], false, "{path} takes anything");
    for (name, value) in values {
        let property = properties.get(name).unwrap_or_else(|| panic!("{path}.{name} is not in the schema"));
        compare(&format!("{path}.{name}"), value, property, root);
    }
    // A kind of client may set all that `client` has; Helm gives `global` to every chart.
    if !path.starts_with("values.clients.") {
        for name in properties.keys().filter(|name| *name != "global") {
            assert!(values.contains_key(name), "{path}.{name} is in the schema alone");
        }
    }
}
