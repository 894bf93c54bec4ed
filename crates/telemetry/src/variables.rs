//! The variables of OpenTelemetry's specification, and what is wrong with those of a process:
//! <https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/>.
//!
//! The specification wants a warning for what an SDK ignores. Without one a typo in a sampler's name means that
//! everything is sampled.

use std::ops::RangeInclusive;

use kelvin_app::SettingsError;
use opentelemetry_sdk::trace::OTEL_BSP_MAX_QUEUE_SIZE_DEFAULT;

use crate::{
    environment::{EXPORTERS, Environment, Signal, Target, ratio},
    headers::headers,
    key_values::key_values,
    numbers::{DELAY, LIMIT, SIZE, TIMEOUT, number},
    propagation,
};

/// What a variable takes.
enum Takes {
    Anything,
    Boolean,
    /// A whole number within these bounds.
    Integer(RangeInclusive<u32>),
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

/// Of spans and of log records alike.
const QUEUE: usize = OTEL_BSP_MAX_QUEUE_SIZE_DEFAULT;

const BAD_HEADERS: &str =
    "some headers are not sent, or not decoded; expected name=value,name=value, percent-encoded";
const NO_LENGTH_LIMITS: &str = "the SDK has no limits on the length of attributes";
const NO_ATTRIBUTE_LIMITS: &str = "the SDK has no such limit";
const THREAD_IGNORES_TIMEOUT: &str =
    "batches have no time limit of their own; OTEL_EXPORTER_OTLP_TIMEOUT limits exports";
const NO_CONFIG_FILE: &str = "the SDK does not read a configuration file, only environment variables";
const SCRAPING: &str = "KELVIN_PROMETHEUS=true serves /metrics on KELVIN_HEALTH_LISTEN";
const NO_ZIPKIN: &str = "there is no Zipkin exporter";

/// Variables of a signal's exporter (`OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`) are here without the signal.
const VARIABLES: &[(&str, Takes)] = &[
    ("OTEL_SDK_DISABLED", Boolean),
    ("OTEL_ENTITIES", Nothing("the SDK does not support entities; use OTEL_RESOURCE_ATTRIBUTES")),
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
    ("OTEL_BSP_SCHEDULE_DELAY", Integer(DELAY)),
    ("OTEL_BSP_EXPORT_TIMEOUT", Nothing(THREAD_IGNORES_TIMEOUT)),
    ("OTEL_BSP_MAX_QUEUE_SIZE", Integer(SIZE)),
    ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", Integer(SIZE)),
    ("OTEL_BLRP_SCHEDULE_DELAY", Integer(DELAY)),
    ("OTEL_BLRP_EXPORT_TIMEOUT", Nothing(THREAD_IGNORES_TIMEOUT)),
    ("OTEL_BLRP_MAX_QUEUE_SIZE", Integer(SIZE)),
    ("OTEL_BLRP_MAX_EXPORT_BATCH_SIZE", Integer(SIZE)),
    ("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", Nothing(NO_LENGTH_LIMITS)),
    ("OTEL_ATTRIBUTE_COUNT_LIMIT", Nothing("use OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT")),
    ("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", Nothing(NO_LENGTH_LIMITS)),
    ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", Integer(LIMIT)),
    ("OTEL_SPAN_EVENT_COUNT_LIMIT", Integer(LIMIT)),
    ("OTEL_SPAN_LINK_COUNT_LIMIT", Integer(LIMIT)),
    ("OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT", Nothing(NO_ATTRIBUTE_LIMITS)),
    ("OTEL_LINK_ATTRIBUTE_COUNT_LIMIT", Nothing(NO_ATTRIBUTE_LIMITS)),
    ("OTEL_LOGRECORD_ATTRIBUTE_VALUE_LENGTH_LIMIT", Nothing(NO_LENGTH_LIMITS)),
    ("OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT", Nothing(NO_ATTRIBUTE_LIMITS)),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", Anything),
    ("OTEL_EXPORTER_OTLP_PROTOCOL", OneOf(&["grpc", "http/protobuf"])),
    ("OTEL_EXPORTER_OTLP_HEADERS", Secrets),
    ("OTEL_EXPORTER_OTLP_TIMEOUT", Integer(TIMEOUT)),
    ("OTEL_EXPORTER_OTLP_COMPRESSION", OneOf(&["gzip", "none"])),
    ("OTEL_EXPORTER_OTLP_CERTIFICATE", Anything),
    ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", Anything),
    ("OTEL_EXPORTER_OTLP_CLIENT_KEY", Anything),
    ("OTEL_EXPORTER_OTLP_INSECURE", Boolean),
    ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", OneOf(&["cumulative", "delta", "lowmemory"])),
    ("OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION", OneOf(&["explicit_bucket_histogram"])),
    ("OTEL_METRICS_EXEMPLAR_FILTER", OneOf(&["always_off"])),
    ("OTEL_METRIC_EXPORT_INTERVAL", Integer(DELAY)),
    ("OTEL_METRIC_EXPORT_TIMEOUT", Nothing("use OTEL_EXPORTER_OTLP_METRICS_TIMEOUT")),
    ("OTEL_EXPORTER_PROMETHEUS_HOST", Nothing(SCRAPING)),
    ("OTEL_EXPORTER_PROMETHEUS_PORT", Nothing(SCRAPING)),
    ("OTEL_EXPORTER_ZIPKIN_ENDPOINT", Nothing(NO_ZIPKIN)),
    ("OTEL_EXPORTER_ZIPKIN_TIMEOUT", Nothing(NO_ZIPKIN)),
    ("OTEL_CONFIG_FILE", Nothing(NO_CONFIG_FILE)),
    ("OTEL_EXPERIMENTAL_CONFIG_FILE", Nothing(NO_CONFIG_FILE)),
    ("OTEL_SEMCONV_STABILITY_OPT_IN", Nothing("KELVIN_RPC_METRICS=true adds rpc.* metrics")),
];

/// What is wrong with one variable.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Warning {
    pub(crate) variable: String,
    /// None if it may be secret or does not matter.
    pub(crate) value: Option<String>,
    pub(crate) problem: String,
}

/// Everything that is ignored, in the order of the variables' names.
pub(crate) fn warnings(environment: &Environment) -> Vec<Warning> {
    let variables = environment.iter();
    let warning = |(variable, value)| check(variable, value).or_else(|| combination(environment, variable));
    variables.filter_map(warning).collect()
}

fn check(variable: &str, value: &str) -> Option<Warning> {
    let takes = takes(variable);
    let problem = match takes {
        None => Some("unknown variable".to_owned()),
        Some(takes) => takes.problem(value),
    };
    // The name of an unknown variable may be that of a secret one with a typo.
    let hidden = matches!(takes, None | Some(Secrets | Nothing(_)));
    let value = (!hidden).then(|| value.to_owned());
    problem.map(|problem| Warning { variable: variable.to_owned(), value, problem })
}

/// What is wrong with a variable because of others.
fn combination(environment: &Environment, variable: &str) -> Option<Warning> {
    let problem = if environment.disabled() {
        None
    } else if variable == "OTEL_TRACES_SAMPLER_ARG" {
        let problem = "has no effect: OTEL_TRACES_SAMPLER is not traceidratio or parentbased_traceidratio";
        (!environment.samples_by_ratio()).then(|| problem.to_owned())
    } else if let Some(prefix) = variable.strip_suffix("_MAX_EXPORT_BATCH_SIZE") {
        let queue = format!("{prefix}_MAX_QUEUE_SIZE");
        let reduced = environment.size(variable, 0) > environment.size(&queue, QUEUE);
        reduced.then(|| format!("reduced to {queue}"))
    } else {
        of_exporter(environment, variable).map(ToOwned::to_owned)
    };
    problem.map(|problem| Warning { variable: variable.to_owned(), value: None, problem })
}

/// What is wrong with a variable of OTLP exporters because of their endpoints.
fn of_exporter(environment: &Environment, variable: &str) -> Option<&'static str> {
    let names_otlp = variable.ends_with("_EXPORTER") && !environment.list(variable, &["otlp"]).is_empty();
    if !names_otlp && !variable.starts_with("OTEL_EXPORTER_OTLP_") {
        return None;
    }
    let own = |signal: &Signal| variable.contains(&format!("_{}_", signal.as_str()));
    let for_all = !Signal::ALL.iter().any(own);
    let signals = || Signal::ALL.into_iter().filter(|signal| for_all || own(signal));
    if !signals().any(|signal| environment.has_endpoint(signal)) {
        return Some("nothing is exported over OTLP: OTEL_EXPORTER_OTLP_ENDPOINT is not set");
    }
    let names_file = variable.ends_with("_CERTIFICATE") || variable.ends_with("_CLIENT_KEY");
    let targets = signals().filter_map(|signal| environment.target(signal, &mut SettingsError::default()));
    let targets: Vec<_> = targets.collect();
    let without_tls = !targets.is_empty() && !targets.iter().any(Target::is_https);
    (names_file && without_tls).then_some("has no effect: the endpoint is not https")
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
            Integer(bounds) => (
                number(bounds, value).is_some(),
                format!("a whole number from {} to {}", bounds.start(), bounds.end()),
            ),
            Ratio => (ratio(value).is_some(), "a number from 0 to 1".to_owned()),
            KeyValues => (key_values(value).is_some(), "key=value,key=value, percent-encoded".to_owned()),
            Secrets => return (!headers(value).1).then(|| BAD_HEADERS.to_owned()),
            OneOf([only]) => {
                (is(&[only], value), format!("{only}, the only value that this program supports"))
            }
            OneOf(known) => (is(known, value), known.join(" or ")),
            ListOf(known) => {
                let values = value.split(',').map(str::trim).filter(|value| !value.is_empty());
                let unknown: Vec<_> = values.filter(|value| !is(known, value)).collect();
                let problem =
                    || format!("{} ignored, expected a list of {}", unknown.join(", "), known.join(", "));
                return (!unknown.is_empty()).then(problem);
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
        ("OTEL_PROPAGATORS", "tracecontext,", OK),
        ("OTEL_PROPAGATORS", "tracecontext,jaeger,b4", "jaeger, b4 ignored, expected a list of tracecontext"),
        ("OTEL_TRACES_SAMPLER", "Always_On", OK),
        ("OTEL_TRACES_SAMPLER", "always_offf", "expected always_on or always_off"),
        ("OTEL_TRACES_SAMPLER", "jaeger_remote", "expected always_on"),
        ("OTEL_TRACES_SAMPLER_ARG", "0.1", OK),
        ("OTEL_TRACES_SAMPLER_ARG", "0,1", "expected a number from 0 to 1"),
        ("OTEL_TRACES_SAMPLER_ARG", "NaN", "expected a number from 0 to 1"),
        ("OTEL_BSP_SCHEDULE_DELAY", "100", OK),
        ("OTEL_BSP_SCHEDULE_DELAY", "1s", "expected a whole number from"),
        ("OTEL_BSP_EXPORT_TIMEOUT", "100", "no effect"),
        ("OTEL_BSP_SCHEDULE_DELAY", "0", "expected a whole number from 1 to 2147483647"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "-1", "expected a whole number from"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "0", "expected a whole number from 1 to 1000000"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "18446744073709551615", "expected a whole number from 1 to 1000000"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "many", "expected a whole number from"),
        ("OTEL_BLRP_SCHEDULE_DELAY", "0", "expected a whole number from"),
        ("OTEL_BLRP_EXPORT_TIMEOUT", "100", "no effect"),
        ("OTEL_BLRP_MAX_QUEUE_SIZE", "10", OK),
        ("OTEL_BLRP_MAX_EXPORT_BATCH_SIZE", "10", OK),
        ("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "10", "no effect"),
        ("OTEL_ATTRIBUTE_COUNT_LIMIT", "10", "no effect"),
        ("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "10", "no effect"),
        ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "10", OK),
        ("OTEL_SPAN_EVENT_COUNT_LIMIT", "0", OK),
        ("OTEL_SPAN_EVENT_COUNT_LIMIT", "4294967296", "expected a whole number from 0 to 4294967295"),
        ("OTEL_SPAN_LINK_COUNT_LIMIT", "ten", "expected a whole number from"),
        ("OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT", "10", "no effect"),
        ("OTEL_LINK_ATTRIBUTE_COUNT_LIMIT", "10", "no effect"),
        ("OTEL_LOGRECORD_ATTRIBUTE_VALUE_LENGTH_LIMIT", "10", "no effect"),
        ("OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT", "10", "no effect"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4317", OK),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://c:4317", OK),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "GRPC", OK),
        ("OTEL_EXPORTER_OTLP_LOGS_PROTOCOL", "http/json", "expected grpc or http/protobuf"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20x", OK),
        ("OTEL_EXPORTER_OTLP_METRICS_HEADERS", "secret", "some headers are not sent, or not decoded"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a=1,b=", "some headers are not sent, or not decoded"),
        ("OTEL_EXPORTER_OTLP_HEADER", "authorization=secret", "unknown variable"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "0", OK),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s", "expected a whole number from"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "zstd", "expected gzip or none"),
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
        ("OTEL_METRIC_EXPORT_INTERVAL", "15s", "expected a whole number from"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "0", "expected a whole number from 1"),
        ("OTEL_METRIC_EXPORT_TIMEOUT", "100", "no effect"),
        ("OTEL_TRACES_EXPORTER", "Console,otlp", OK),
        ("OTEL_TRACES_EXPORTER", "otlp,zipkin", "zipkin ignored, expected a list of otlp"),
        ("OTEL_METRICS_EXPORTER", "prometheus", "expected a list of otlp"),
        ("OTEL_LOGS_EXPORTER", "None", OK),
        ("OTEL_EXPORTER_PROMETHEUS_HOST", "0.0.0.0", "KELVIN_PROMETHEUS"),
        ("OTEL_EXPORTER_PROMETHEUS_PORT", "9464", "KELVIN_PROMETHEUS"),
        ("OTEL_EXPORTER_ZIPKIN_ENDPOINT", "http://z:9411", "no effect"),
        ("OTEL_EXPORTER_ZIPKIN_TIMEOUT", "1", "no effect"),
        ("OTEL_CONFIG_FILE", "otel.yaml", "no effect"),
        ("OTEL_EXPERIMENTAL_CONFIG_FILE", "otel.yaml", "no effect"),
        ("OTEL_SEMCONV_STABILITY_OPT_IN", "rpc/dup", "KELVIN_RPC_METRICS=true adds rpc.* metrics"),
        ("OTEL_TRACE_SAMPLER", "always_off", "unknown variable"),
        ("OTEL_EXPORTER_OTLP_TRACE_ENDPOINT", "http://c:4317", "unknown variable"),
    ];

    #[test]
    fn every_specified_variable_is_honoured_or_warned_of() {
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
    fn warning_hides_values_that_may_be_secret() {
        for variable in [
            "OTEL_EXPORTER_OTLP_HEADERS",
            "OTEL_EXPORTER_OTLP_LOGS_HEADERS",
            "OTEL_EXPORTER_OTLP_HEADER",
            "OTEL_EXPORTER_ZIPKIN_ENDPOINT",
        ] {
            let warning = check(variable, "secret").unwrap();
            assert_eq!(warning.value, None, "{variable}");
            assert!(!warning.problem.contains("secret"), "{variable}: {}", warning.problem);
        }
        assert_eq!(check("OTEL_TRACES_SAMPLER", "alway_on").unwrap().value.as_deref(), Some("alway_on"));
    }

    /// The variables that are warned of, each once.
    fn warned(pairs: &[(&str, &str)]) -> Vec<String> {
        let mut environment = Environment::default();
        for (name, value) in pairs {
            environment.set(name, value);
        }
        warnings(&environment).into_iter().map(|Warning { variable, .. }| variable).collect()
    }

    #[test]
    fn combination_without_effect_is_warned_of_once() {
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4317");
        let ca = ("OTEL_EXPORTER_OTLP_CERTIFICATE", "ca.pem");
        let arg = ("OTEL_TRACES_SAMPLER_ARG", "0.1");
        for (pairs, expected) in [
            (&[arg][..], "OTEL_TRACES_SAMPLER_ARG"),
            (&[arg, ("OTEL_TRACES_SAMPLER", "always_on")], "OTEL_TRACES_SAMPLER_ARG"),
            (&[("OTEL_TRACES_EXPORTER", "otlp")], "OTEL_TRACES_EXPORTER"),
            (&[("OTEL_EXPORTER_OTLP_HEADERS", "a=b")], "OTEL_EXPORTER_OTLP_HEADERS"),
            (
                &[
                    ("OTEL_EXPORTER_OTLP_LOGS_TIMEOUT", "10"),
                    ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://c:4317"),
                ],
                "OTEL_EXPORTER_OTLP_LOGS_TIMEOUT",
            ),
            (&[endpoint, ca], "OTEL_EXPORTER_OTLP_CERTIFICATE"),
            (
                &[endpoint, ("OTEL_BSP_MAX_QUEUE_SIZE", "10"), ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "11")],
                "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
            ),
            (&[("OTEL_BLRP_MAX_EXPORT_BATCH_SIZE", "2049")], "OTEL_BLRP_MAX_EXPORT_BATCH_SIZE"),
        ] {
            assert_eq!(warned(pairs), [expected], "{pairs:?}");
        }
    }

    #[test]
    fn combination_with_effect_is_not_warned_of() {
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4317");
        let ca = ("OTEL_EXPORTER_OTLP_CERTIFICATE", "ca.pem");
        let arg = ("OTEL_TRACES_SAMPLER_ARG", "1");
        for pairs in [
            // What the chart sets.
            &[
                endpoint,
                arg,
                ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
                ("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=a%20b"),
                ("OTEL_METRIC_EXPORT_INTERVAL", "15000"),
                ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"),
            ][..],
            &[("OTEL_EXPORTER_OTLP_ENDPOINT", "HTTPS://c"), ca],
            &[endpoint, ca, ("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "https://l:4317")],
            &[arg, ("OTEL_TRACES_SAMPLER", "TraceIdRatio")],
            &[("OTEL_LOGS_EXPORTER", "none"), ("OTEL_TRACES_EXPORTER", "console")],
            &[endpoint, ("OTEL_TRACES_EXPORTER", "otlp,console"), ("OTEL_BSP_MAX_QUEUE_SIZE", "10")],
            &[("OTEL_SDK_DISABLED", "true"), ca, arg],
        ] {
            assert_eq!(warned(pairs), [""; 0], "{pairs:?}");
        }
    }

    #[test]
    fn number_outside_its_bounds_is_not_used() {
        let mut environment = Environment::default();
        for (value, expected) in [("100 ", Some(100)), ("0", None), ("1000001", None), ("1e3", None)] {
            environment.set("OTEL_BSP_MAX_QUEUE_SIZE", value);
            assert_eq!(environment.number("OTEL_BSP_MAX_QUEUE_SIZE", &SIZE), expected, "{value}");
        }
    }
}
