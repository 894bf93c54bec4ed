//! The variables of OpenTelemetry's specification, and what is wrong with those of a process:
//! <https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/>.
//!
//! The specification wants a warning for what an SDK ignores. Without one a typo in a sampler's name means that
//! everything is sampled.

use crate::{
    environment::{EXPORTERS, Environment, ratio},
    propagation, resource,
};

/// What a variable takes.
enum Takes {
    Anything,
    Boolean,
    Integer,
    Ratio,
    /// `key=value,key=value`.
    KeyValues,
    /// The same, with values that are nobody's business.
    Secrets,
    OneOf(&'static [&'static str]),
    ListOf(&'static [&'static str]),
    /// It has no effect, for this reason.
    Nothing(&'static str),
}

use Takes::{Anything, Boolean, Integer, KeyValues, ListOf, Nothing, OneOf, Ratio, Secrets};

const NO_LENGTH_LIMITS: &str = "the SDK has no limits on the length of attributes";
const NO_ATTRIBUTE_LIMITS: &str = "the SDK has no such limit";
const THREAD_IGNORES_TIMEOUT: &str =
    "batches have no time limit of their own; OTEL_EXPORTER_OTLP_TIMEOUT limits exports";
const NO_CONFIG_FILE: &str = "the SDK reads no configuration file, only variables";
const SCRAPING: &str = "KELVIN_PROMETHEUS=true serves /metrics on KELVIN_HEALTH_LISTEN";
const NO_ZIPKIN: &str = "there is no Zipkin exporter";

/// Variables of a signal's exporter (`OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`) are here without the signal.
const VARIABLES: &[(&str, Takes)] = &[
    ("OTEL_SDK_DISABLED", Boolean),
    ("OTEL_ENTITIES", Nothing("the SDK has no entities; use OTEL_RESOURCE_ATTRIBUTES")),
    ("OTEL_RESOURCE_ATTRIBUTES", KeyValues),
    ("OTEL_SERVICE_NAME", Anything),
    ("OTEL_LOG_LEVEL", Nothing("RUST_LOG sets log levels")),
    ("OTEL_PROPAGATORS", ListOf(&propagation::NAMES)),
    (
        "OTEL_TRACES_SAMPLER",
        OneOf(&[
            "always_on",
            "always_off",
            "traceidratio",
            "parentbased_always_on",
            "parentbased_always_off",
            "parentbased_traceidratio",
        ]),
    ),
    ("OTEL_TRACES_SAMPLER_ARG", Ratio),
    ("OTEL_TRACES_EXPORTER", ListOf(&EXPORTERS)),
    ("OTEL_METRICS_EXPORTER", ListOf(&EXPORTERS)),
    ("OTEL_LOGS_EXPORTER", ListOf(&EXPORTERS)),
    ("OTEL_BSP_SCHEDULE_DELAY", Integer),
    ("OTEL_BSP_EXPORT_TIMEOUT", Nothing(THREAD_IGNORES_TIMEOUT)),
    ("OTEL_BSP_MAX_QUEUE_SIZE", Integer),
    ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", Integer),
    ("OTEL_BLRP_SCHEDULE_DELAY", Integer),
    ("OTEL_BLRP_EXPORT_TIMEOUT", Nothing(THREAD_IGNORES_TIMEOUT)),
    ("OTEL_BLRP_MAX_QUEUE_SIZE", Integer),
    ("OTEL_BLRP_MAX_EXPORT_BATCH_SIZE", Integer),
    ("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", Nothing(NO_LENGTH_LIMITS)),
    ("OTEL_ATTRIBUTE_COUNT_LIMIT", Nothing("use OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT")),
    ("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", Nothing(NO_LENGTH_LIMITS)),
    ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", Integer),
    ("OTEL_SPAN_EVENT_COUNT_LIMIT", Integer),
    ("OTEL_SPAN_LINK_COUNT_LIMIT", Integer),
    ("OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT", Nothing(NO_ATTRIBUTE_LIMITS)),
    ("OTEL_LINK_ATTRIBUTE_COUNT_LIMIT", Nothing(NO_ATTRIBUTE_LIMITS)),
    ("OTEL_LOGRECORD_ATTRIBUTE_VALUE_LENGTH_LIMIT", Nothing(NO_LENGTH_LIMITS)),
    ("OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT", Nothing(NO_ATTRIBUTE_LIMITS)),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", Anything),
    ("OTEL_EXPORTER_OTLP_PROTOCOL", OneOf(&["grpc", "http/protobuf"])),
    ("OTEL_EXPORTER_OTLP_HEADERS", Secrets),
    ("OTEL_EXPORTER_OTLP_TIMEOUT", Integer),
    ("OTEL_EXPORTER_OTLP_COMPRESSION", OneOf(&["gzip", "none"])),
    ("OTEL_EXPORTER_OTLP_CERTIFICATE", Anything),
    ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", Anything),
    ("OTEL_EXPORTER_OTLP_CLIENT_KEY", Anything),
    ("OTEL_EXPORTER_OTLP_INSECURE", Boolean),
    ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", OneOf(&["cumulative", "delta", "lowmemory"])),
    ("OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION", OneOf(&["explicit_bucket_histogram"])),
    ("OTEL_METRICS_EXEMPLAR_FILTER", OneOf(&["always_off"])),
    ("OTEL_METRIC_EXPORT_INTERVAL", Integer),
    ("OTEL_METRIC_EXPORT_TIMEOUT", Nothing("use OTEL_EXPORTER_OTLP_METRICS_TIMEOUT")),
    ("OTEL_EXPORTER_PROMETHEUS_HOST", Nothing(SCRAPING)),
    ("OTEL_EXPORTER_PROMETHEUS_PORT", Nothing(SCRAPING)),
    ("OTEL_EXPORTER_ZIPKIN_ENDPOINT", Nothing(NO_ZIPKIN)),
    ("OTEL_EXPORTER_ZIPKIN_TIMEOUT", Nothing(NO_ZIPKIN)),
    ("OTEL_CONFIG_FILE", Nothing(NO_CONFIG_FILE)),
    ("OTEL_EXPERIMENTAL_CONFIG_FILE", Nothing(NO_CONFIG_FILE)),
    ("OTEL_SEMCONV_STABILITY_OPT_IN", Nothing("the names of metrics and attributes of calls are fixed")),
];

/// What is wrong with one variable.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Warning {
    pub(crate) variable: String,
    /// Empty if it may be secret.
    pub(crate) value: String,
    pub(crate) problem: String,
}

/// Everything that is ignored, in the order of the variables' names.
pub(crate) fn warnings(environment: &Environment) -> Vec<Warning> {
    environment.iter().filter_map(|(variable, value)| check(variable, value)).collect()
}

fn check(variable: &str, value: &str) -> Option<Warning> {
    let takes = takes(variable);
    let problem = match takes {
        None => Some("unknown variable".to_owned()),
        Some(takes) => takes.problem(value),
    };
    let secret = matches!(takes, Some(Secrets));
    let value = if secret { String::new() } else { value.to_owned() };
    problem.map(|problem| Warning { variable: variable.to_owned(), value, problem })
}

fn takes(variable: &str) -> Option<&'static Takes> {
    let find = |name: &str| VARIABLES.iter().find(|(known, _)| *known == name).map(|(_, takes)| takes);
    find(variable).or_else(|| {
        let rest = variable.strip_prefix("OTEL_EXPORTER_OTLP_")?;
        let of_signal =
            ["TRACES_", "METRICS_", "LOGS_"].iter().find_map(|signal| rest.strip_prefix(signal))?;
        find(&format!("OTEL_EXPORTER_OTLP_{of_signal}"))
    })
}

impl Takes {
    fn problem(&self, value: &str) -> Option<String> {
        let is =
            |known: &[&str], value: &str| known.iter().any(|known| known.eq_ignore_ascii_case(value.trim()));
        let (good, expected) = match self {
            Anything => return None,
            Nothing(why) => return Some(format!("has no effect: {why}")),
            Boolean => (is(&["true", "false"], value), "true or false".to_owned()),
            Integer => (value.parse::<u64>().is_ok(), "a whole number".to_owned()),
            Ratio => (ratio(value).is_some(), "a number from 0 to 1".to_owned()),
            KeyValues | Secrets => {
                (resource::key_values(value).is_some(), "key=value,key=value, percent-encoded".to_owned())
            }
            OneOf(known) => (is(known, value), known.join(", ")),
            ListOf(known) => {
                (value.split(',').all(|value| is(known, value)), format!("a list of {}", known.join(", ")))
            }
        };
        (!good).then(|| format!("ignored, expected {expected}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OK: &str = "";

    /// Each variable of the specification with a value, and what the warning says.
    const REACTIONS: &[(&str, &str, &str)] = &[
        ("OTEL_SDK_DISABLED", "True", OK),
        ("OTEL_SDK_DISABLED", "1", "expected true or false"),
        ("OTEL_ENTITIES", "service{service.name=a}", "no effect"),
        ("OTEL_RESOURCE_ATTRIBUTES", "a=b%20c,d=e", OK),
        ("OTEL_RESOURCE_ATTRIBUTES", "a=b,c", "expected key=value"),
        ("OTEL_SERVICE_NAME", "any", OK),
        ("OTEL_LOG_LEVEL", "debug", "RUST_LOG"),
        ("OTEL_PROPAGATORS", "TraceContext, b3", OK),
        ("OTEL_PROPAGATORS", "tracecontext,jaeger", "expected a list of tracecontext"),
        ("OTEL_TRACES_SAMPLER", "Always_On", OK),
        ("OTEL_TRACES_SAMPLER", "always_offf", "expected always_on, always_off"),
        ("OTEL_TRACES_SAMPLER", "jaeger_remote", "expected always_on"),
        ("OTEL_TRACES_SAMPLER_ARG", "0.1", OK),
        ("OTEL_TRACES_SAMPLER_ARG", "0,1", "expected a number from 0 to 1"),
        ("OTEL_TRACES_SAMPLER_ARG", "NaN", "expected a number from 0 to 1"),
        ("OTEL_BSP_SCHEDULE_DELAY", "100", OK),
        ("OTEL_BSP_SCHEDULE_DELAY", "1s", "expected a whole number"),
        ("OTEL_BSP_EXPORT_TIMEOUT", "100", "no effect"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "-1", "expected a whole number"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "many", "expected a whole number"),
        ("OTEL_BLRP_SCHEDULE_DELAY", "x", "expected a whole number"),
        ("OTEL_BLRP_EXPORT_TIMEOUT", "100", "no effect"),
        ("OTEL_BLRP_MAX_QUEUE_SIZE", "10", OK),
        ("OTEL_BLRP_MAX_EXPORT_BATCH_SIZE", "10", OK),
        ("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "10", "no effect"),
        ("OTEL_ATTRIBUTE_COUNT_LIMIT", "10", "no effect"),
        ("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "10", "no effect"),
        ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "10", OK),
        ("OTEL_SPAN_EVENT_COUNT_LIMIT", "10", OK),
        ("OTEL_SPAN_LINK_COUNT_LIMIT", "ten", "expected a whole number"),
        ("OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT", "10", "no effect"),
        ("OTEL_LINK_ATTRIBUTE_COUNT_LIMIT", "10", "no effect"),
        ("OTEL_LOGRECORD_ATTRIBUTE_VALUE_LENGTH_LIMIT", "10", "no effect"),
        ("OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT", "10", "no effect"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4317", OK),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://c:4317", OK),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "GRPC", OK),
        ("OTEL_EXPORTER_OTLP_LOGS_PROTOCOL", "http/json", "expected grpc, http/protobuf"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20x", OK),
        ("OTEL_EXPORTER_OTLP_METRICS_HEADERS", "secret", "expected key=value"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "0", OK),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s", "expected a whole number"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "zstd", "expected gzip, none"),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "ca.pem", OK),
        ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", "cert.pem", OK),
        ("OTEL_EXPORTER_OTLP_CLIENT_KEY", "key.pem", OK),
        ("OTEL_EXPORTER_OTLP_INSECURE", "yes", "expected true or false"),
        ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "Delta", OK),
        ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "deltas", "expected cumulative"),
        (
            "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION",
            "base2_exponential_bucket_histogram",
            "expected explicit_bucket_histogram",
        ),
        ("OTEL_METRICS_EXEMPLAR_FILTER", "trace_based", "expected always_off"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "15s", "expected a whole number"),
        ("OTEL_METRIC_EXPORT_TIMEOUT", "100", "no effect"),
        ("OTEL_TRACES_EXPORTER", "Console,otlp", OK),
        ("OTEL_TRACES_EXPORTER", "zipkin", "expected a list of otlp"),
        ("OTEL_METRICS_EXPORTER", "prometheus", "expected a list of otlp"),
        ("OTEL_LOGS_EXPORTER", "None", OK),
        ("OTEL_EXPORTER_PROMETHEUS_HOST", "0.0.0.0", "KELVIN_PROMETHEUS"),
        ("OTEL_EXPORTER_PROMETHEUS_PORT", "9464", "KELVIN_PROMETHEUS"),
        ("OTEL_EXPORTER_ZIPKIN_ENDPOINT", "http://z:9411", "no effect"),
        ("OTEL_EXPORTER_ZIPKIN_TIMEOUT", "1", "no effect"),
        ("OTEL_CONFIG_FILE", "otel.yaml", "no effect"),
        ("OTEL_EXPERIMENTAL_CONFIG_FILE", "otel.yaml", "no effect"),
        ("OTEL_SEMCONV_STABILITY_OPT_IN", "rpc/dup", "no effect"),
        ("OTEL_TRACE_SAMPLER", "always_off", "unknown variable"),
        ("OTEL_EXPORTER_OTLP_TRACE_ENDPOINT", "http://c:4317", "unknown variable"),
    ];

    #[test]
    fn every_variable_of_the_specification_is_honoured_or_warned_of() {
        for (variable, value, expected) in REACTIONS {
            let warning = check(variable, value);
            match &warning {
                None => assert_eq!(*expected, OK, "{variable}={value}"),
                Some(warning) => assert!(
                    *expected != OK && warning.problem.contains(expected),
                    "{variable}={value}: {:?}",
                    warning.problem
                ),
            }
        }
        for (variable, _) in VARIABLES {
            assert!(REACTIONS.iter().any(|(tested, ..)| tested == variable), "{variable} has no test");
        }
    }

    #[test]
    fn warning_about_headers_hides_their_value() {
        assert_eq!(check("OTEL_EXPORTER_OTLP_HEADERS", "secret").unwrap().value, "");
    }
}
