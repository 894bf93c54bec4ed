//! The resource: which service, process, host and container telemetry comes from.

use std::env;

use opentelemetry::KeyValue;
use opentelemetry_resource_detectors::{ContainerResourceDetector, HostResourceDetector, OsResourceDetector};
use opentelemetry_sdk::{
    Resource,
    resource::{ResourceDetector, TelemetryResourceDetector},
    trace::{IdGenerator, RandomIdGenerator},
};
use percent_encoding::percent_decode_str;

use crate::environment::Environment;

/// The conventions that the attributes follow.
pub(crate) const SCHEMA_URL: &str = "https://opentelemetry.io/schemas/1.42.0";

/// Name, version and an instance id of this process, its host and container. `OTEL_RESOURCE_ATTRIBUTES` adds to
/// them and wins, and over both `OTEL_SERVICE_NAME`.
pub(crate) fn resource(service: &'static str, version: &'static str, environment: &Environment) -> Resource {
    let configured = environment.get("OTEL_RESOURCE_ATTRIBUTES").and_then(key_values).unwrap_or_default();
    let name =
        environment.get("OTEL_SERVICE_NAME").map(|name| KeyValue::new("service.name", name.to_owned()));
    let detectors: [Box<dyn ResourceDetector>; 4] = [
        Box::new(TelemetryResourceDetector),
        Box::new(HostResourceDetector::default()),
        Box::new(OsResourceDetector),
        Box::new(ContainerResourceDetector),
    ];
    Resource::builder_empty()
        .with_detectors(&detectors)
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

/// Not the arguments, which the detector for processes would add: they may hold what is not for a collector.
fn process() -> Vec<KeyValue> {
    let mut attributes = vec![KeyValue::new("process.pid", i64::from(std::process::id()))];
    if let Some(name) = env::current_exe().ok().as_deref().and_then(|path| path.file_name()?.to_str()) {
        attributes.push(KeyValue::new("process.executable.name", name.to_owned()));
    }
    attributes
}

/// `key=value,key=value`, percent-decoded. All or nothing, as the specification wants: none of it if any part
/// cannot be read.
pub(crate) fn key_values(text: &str) -> Option<Vec<(String, String)>> {
    let decode = |text: &str| Some(percent_decode_str(text.trim()).decode_utf8().ok()?.into_owned());
    let pair = |part: &str| {
        let (key, value) = part.split_once('=')?;
        let (key, value) = (decode(key)?, decode(value)?);
        (!key.is_empty() && well_escaped(part)).then_some((key, value))
    };
    text.split(',').filter(|part| !part.trim().is_empty()).map(pair).collect()
}

/// Whether two hexadecimal digits follow every `%`.
fn well_escaped(text: &str) -> bool {
    let digits =
        |rest: &str| rest.as_bytes().get(..2).is_some_and(|two| two.iter().all(u8::is_ascii_hexdigit));
    text.split('%').skip(1).all(digits)
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
    fn resource_attributes_are_percent_decoded_all_or_nothing() {
        let pairs = [("team".to_owned(), "a, b=c".to_owned()), ("grüße".to_owned(), "ä".to_owned())];
        assert_eq!(key_values("team=a%2C%20b%3Dc, gr%C3%BC%C3%9Fe = %c3%a4 ,").unwrap(), pairs);
        for wrong in ["a=1,b", "a=1,=2", "a=%zz", "a=%4", "a=%ff"] {
            assert_eq!(key_values(wrong), None, "{wrong}");
        }
    }
}
