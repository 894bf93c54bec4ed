//! The resource: which service, process, host and container telemetry comes from.

use std::env;

use opentelemetry::{KeyValue, Value};
use opentelemetry_resource_detectors::{ContainerResourceDetector, HostResourceDetector, OsResourceDetector};
use opentelemetry_sdk::{
    Resource,
    resource::{ResourceDetector, TelemetryResourceDetector},
    trace::{IdGenerator, RandomIdGenerator},
};

use crate::{environment::Environment, key_values::key_values};

/// The conventions that the attributes follow.
pub(crate) const SCHEMA_URL: &str = "https://opentelemetry.io/schemas/1.42.0";

/// Name, version and an instance id of this process, its host and container. `OTEL_RESOURCE_ATTRIBUTES` adds to
/// them and wins, and over both `OTEL_SERVICE_NAME`.
pub(crate) fn resource(service: &'static str, version: &'static str, environment: &Environment) -> Resource {
    let configured = environment.get("OTEL_RESOURCE_ATTRIBUTES").and_then(key_values).unwrap_or_default();
    let name =
        environment.get("OTEL_SERVICE_NAME").map(|name| KeyValue::new("service.name", name.to_owned()));
    let detectors: [Box<dyn ResourceDetector>; 3] = [
        Box::new(TelemetryResourceDetector),
        Box::new(OsResourceDetector),
        Box::new(ContainerResourceDetector),
    ];
    Resource::builder_empty()
        .with_detectors(&detectors)
        .with_attributes(host(&HostResourceDetector::default().detect()))
        .with_attributes(process())
        .with_attributes([
            KeyValue::new("service.name", service),
            KeyValue::new("service.version", version),
            KeyValue::new("service.instance.id", random_uuid()),
        ])
        .with_attributes(configured.into_iter().map(|(key, value)| KeyValue::new(key, value)))
        .with_attributes(name)
        .with_schema_url([], SCHEMA_URL)
        .build()
}

/// What is detected, without an empty `host.id` (images have an empty `/etc/machine-id`).
fn host(detected: &Resource) -> Vec<KeyValue> {
    let attributes = detected.iter().filter(|(_, value)| !value.as_str().is_empty());
    let attributes = attributes.map(|(key, value)| match key.as_str() {
        "host.arch" => KeyValue::new("host.arch", architecture(value)),
        _ => KeyValue::new(key.clone(), value.clone()),
    });
    attributes.collect()
}

/// An architecture by the name that the conventions give it, where Rust's is another.
fn architecture(rust: &Value) -> Value {
    match rust.as_str().as_ref() {
        "aarch64" => "arm64".into(),
        "arm" => "arm32".into(),
        "powerpc" => "ppc32".into(),
        "powerpc64" => "ppc64".into(),
        "x86_64" => "amd64".into(),
        _ => rust.clone(),
    }
}

/// Not the arguments, which the detector for processes would add: they may hold what is not for a collector.
fn process() -> Vec<KeyValue> {
    let mut attributes = vec![KeyValue::new("process.pid", i64::from(std::process::id()))];
    if let Some(name) = env::current_exe().ok().as_deref().and_then(|path| path.file_name()?.to_str()) {
        attributes.push(KeyValue::new("process.executable.name", name.to_owned()));
    }
    attributes
}

/// A version 4 UUID (RFC 9562, 5.4) from the SDK's random numbers.
fn random_uuid() -> String {
    let mut bytes = RandomIdGenerator::default().new_trace_id().to_bytes();
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex = format!("{:032x}", u128::from_be_bytes(bytes));
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resource_has_host_os_process_and_container() {
        let resource = resource("service", "1.2.3", &Environment::default());
        let text = |key: &'static str| resource.get(&key.into()).map(|value| value.to_string());
        assert_eq!(text("service.version").unwrap(), "1.2.3");
        assert_eq!(text("os.type").unwrap(), env::consts::OS);
        assert_eq!(text("process.pid").unwrap(), std::process::id().to_string());
        assert!(text("process.executable.name").unwrap().starts_with("kelvin_telemetry"));
        for (key, container) in &ContainerResourceDetector.detect() {
            assert_eq!(resource.get(key).as_ref(), Some(container), "{key}");
        }
        let arch = text("host.arch").unwrap();
        match env::consts::ARCH {
            "x86_64" => assert_eq!(arch, "amd64"),
            "aarch64" => assert_eq!(arch, "arm64"),
            other => assert!(!other.is_empty() && !arch.is_empty()),
        }
        assert_ne!(text("host.id").as_deref(), Some(""));
        assert_eq!(resource.schema_url(), Some(SCHEMA_URL));
    }

    #[test]
    fn empty_host_id_is_left_out() {
        let detected = |id: &'static str| {
            let attributes = [KeyValue::new("host.id", id), KeyValue::new("host.arch", "aarch64")];
            Resource::builder_empty().with_attributes(attributes).build()
        };
        assert_eq!(host(&detected("")), [KeyValue::new("host.arch", "arm64")]);
        assert!(host(&detected("7")).contains(&KeyValue::new("host.id", "7")));
    }
}
