//! `values.schema.json` catches typing mistakes.

use kelvin_app::Settings as _;
use serde_json::Value;

use crate::{helm, snapshot};

const MISTAKES: [(&str, &str); 38] = [
    ("sever.replicas=1", "sever"),
    ("server.replica=1", "replica"),
    ("server.replicas=two", "/server/replicas"),
    ("server.podLabels.x=1", "/server/podLabels/x"),
    ("server.startupProbe.period=1", "period"),
    ("server.port=70000", "/server/port"),
    ("server.settings.MAX_MESAGE_SIZE=8MiB", "MAX_MESAGE_SIZE"),
    ("client.settings.REFLECTION=false", "REFLECTION"),
    ("server.settings.SEED=1", "SEED"),
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
    ("telemetry.traceRatio=5", "/telemetry/traceRatio"),
    ("telemetry.traceRatio=1.5", "/telemetry/traceRatio"),
    ("alerts.objective=1.5", "/alerts/objective"),
    ("telemetry.protocol=http", "/telemetry/protocol"),
    ("server.externalService.type=ClusterIP", "/server/externalService/type"),
    ("server.service.ipFamilies={v6}", "/server/service/ipFamilies/0"),
    ("server.image.digest=latest", "/server/image/digest"),
    ("tls.external.duration=90d", "/tls/external/duration"),
    ("client.extraVolume=1", "extraVolume"),
    ("server.extraEnv[0].name=5", "/server/extraEnv/0/name"),
    ("server.extraEnv[0].value=1", "/server/extraEnv/0/value"),
    ("tls.ipAddresses={example.org}", "/tls/ipAddresses/0"),
    ("test.enabled=null", "enabled"),
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

/// Helm 3.17's validator ignores `unevaluatedProperties` and what stands beside a `$ref`, and says little of an `allOf`.
#[test]
fn schema_has_only_keywords_that_helm_3_evaluates() {
    let path = helm::chart().join("values.schema.json");
    let text = std::fs::read_to_string(path).expect("a schema");
    let ignored = evaluated("", &serde_json::from_str(&text).expect("the schema is JSON"));
    assert!(ignored.is_empty(), "{ignored:#?}");
}

/// The places of keywords that are ignored.
fn evaluated(path: &str, schema: &Value) -> Vec<String> {
    let Some(keywords) = schema.as_object() else { return Vec::new() };
    let mut ignored = Vec::new();
    if keywords.contains_key("$ref") && keywords.len() > 1 {
        ignored.push(format!("{path}: keywords beside $ref"));
    }
    for (keyword, value) in keywords {
        match keyword.as_str() {
            "unevaluatedProperties" | "allOf" | "propertyNames" => ignored.push(format!("{path}/{keyword}")),
            // Below them are names, which may be anything.
            "properties" | "$defs" => {
                for (name, schema) in value.as_object().expect("schemas by name") {
                    ignored.extend(evaluated(&format!("{path}/{keyword}/{name}"), schema));
                }
            }
            _ => ignored.extend(evaluated(&format!("{path}/{keyword}"), value)),
        }
    }
    ignored
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
        let names = variables.filter_map(|variable| variable.strip_prefix("KELVIN_"));
        let list: Vec<_> =
            names.map(|name| format!("        \"{name}\": {{\"$ref\": \"#/$defs/setting\"}}")).collect();
        let (before, rest) = text.split_once(&format!("\"{definition}\": {{")).expect("a definition");
        let (head, rest) = rest.split_once("\"properties\": {\n").expect("names");
        let (_, after) = rest.split_once("\n      }").expect("the names end");
        text = format!(
            "{before}\"{definition}\": {{{head}\"properties\": {{\n{}\n      }}{after}",
            list.join(",\n")
        );
    }
    snapshot::compare(&path, &text);
}

/// What a schema refers to, or the schema itself.
fn resolve<'a>(schema: &'a Value, root: &'a Value) -> &'a Value {
    let Some(reference) = schema["$ref"].as_str() else { return schema };
    root.pointer(reference.trim_start_matches('#')).expect("a reference leads somewhere")
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
    let closed = schema["additionalProperties"] == false;
    assert!(closed || path == "values.global", "{path} takes anything");
    for (name, value) in values {
        let property = properties.get(name).unwrap_or_else(|| panic!("{path}.{name} is not in the schema"));
        compare(&format!("{path}.{name}"), value, property, root);
    }
    // A kind of client may set all that `client` has, and a probe more than the defaults do; `enabled` is a parent chart's;
    // deprecated names are accepted.
    if !path.starts_with("values.clients.") && !path.ends_with("Probe") {
        for (name, property) in properties.iter().filter(|(name, _)| path != "values" || *name != "enabled") {
            let expected = values.contains_key(name) || property["deprecated"] == true;
            assert!(expected, "{path}.{name} is in the schema alone");
        }
    }
}
