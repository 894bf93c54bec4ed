//! Who it is that telemetry comes from.

use opentelemetry::KeyValue;
use opentelemetry_sdk::{
    Resource,
    resource::{EnvResourceDetector, TelemetryResourceDetector},
    trace::{IdGenerator, RandomIdGenerator},
};

use crate::environment::Environment;

/// Name, version and an instance id of this process; `OTEL_RESOURCE_ATTRIBUTES` adds to them and wins,
/// and over both `OTEL_SERVICE_NAME`.
pub(crate) fn resource(service: &'static str, version: &'static str, environment: &Environment) -> Resource {
    let name =
        environment.get("OTEL_SERVICE_NAME").map(|name| KeyValue::new("service.name", name.to_owned()));
    Resource::builder_empty()
        .with_attributes([
            KeyValue::new("service.name", service),
            KeyValue::new("service.version", version),
            KeyValue::new("service.instance.id", random_uuid()),
        ])
        .with_detectors(&[Box::new(TelemetryResourceDetector), Box::new(EnvResourceDetector::new())])
        .with_attributes(name)
        .build()
}

/// A version 4 UUID (RFC 9562, 5.4) from the SDK's random numbers.
fn random_uuid() -> String {
    let mut bytes = RandomIdGenerator::default().new_trace_id().to_bytes();
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex = format!("{:032x}", u128::from_be_bytes(bytes));
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}
