//! What the `OTEL_*` variables say of where telemetry goes, as far as the SDK leaves it to us:
//! <https://opentelemetry.io/docs/specs/otel/protocol/exporter/>.

use std::{
    collections::{BTreeMap, HashMap},
    env,
    ops::RangeInclusive,
    time::Duration,
};

use http::{Uri, uri};
use kelvin_app::{NamedFile, SettingsError, TlsFiles};
use opentelemetry_otlp::Compression;
use opentelemetry_sdk::{metrics::Temporality, trace::Sampler};

use crate::{
    headers::headers,
    numbers::{DELAY, SIZE, TIMEOUT, number},
};

/// The values of `OTEL_*_EXPORTER` that have an exporter here.
pub(crate) const EXPORTERS: [&str; 3] = ["otlp", "console", "none"];

/// What a time limit of 0 becomes: libraries take no "none".
const NO_LIMIT: Duration = Duration::from_hours(24 * 365);

/// One of the three kinds of telemetry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signal {
    Traces,
    Metrics,
    Logs,
}

impl Signal {
    pub(crate) const ALL: [Self; 3] = [Self::Traces, Self::Metrics, Self::Logs];

    /// Returns the part of variable names that stands for the signal.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Traces => "TRACES",
            Self::Metrics => "METRICS",
            Self::Logs => "LOGS",
        }
    }

    /// The variable of its own endpoint.
    pub(crate) fn endpoint(self) -> &'static str {
        match self {
            Self::Traces => "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
            Self::Metrics => "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
            Self::Logs => "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT",
        }
    }

    /// Where OTLP over HTTP takes it.
    fn path(self) -> &'static str {
        match self {
            Self::Traces => "/v1/traces",
            Self::Metrics => "/v1/metrics",
            Self::Logs => "/v1/logs",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Grpc,
    Http,
}

/// Where one signal goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) protocol: Protocol,
    /// An `http` or `https` address; for HTTP with the signal's path.
    pub(crate) endpoint: Uri,
    /// For one export.
    pub(crate) timeout: Duration,
    /// Percent-decoded.
    pub(crate) headers: HashMap<String, String>,
    pub(crate) compression: Option<Compression>,
    /// CAs to trust in place of the system's, and a client certificate with its key.
    pub(crate) tls: TlsFiles,
}

impl Target {
    pub(crate) fn is_https(&self) -> bool {
        self.endpoint.scheme() == Some(&uri::Scheme::HTTPS)
    }
}

/// The variables, without those that are empty: to the specification they are as good as not set.
#[derive(Debug, Default)]
pub(crate) struct Environment(BTreeMap<String, String>);

impl Environment {
    pub(crate) fn from_process() -> Self {
        let mut environment = Self::default();
        for (name, value) in env::vars_os() {
            environment.set(&name.to_string_lossy(), &value.to_string_lossy());
        }
        environment
    }

    pub(crate) fn set(&mut self, name: &str, value: &str) {
        let value = value.trim();
        if value.is_empty() {
            self.0.remove(name);
        } else if name.starts_with("OTEL_") {
            self.0.insert(name.to_owned(), value.to_owned());
        }
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The known values of a comma-separated list, in lower case.
    pub(crate) fn list(&self, name: &str, known: &[&str]) -> Vec<String> {
        let values = self.get(name).unwrap_or_default().split(',');
        let values = values.map(|value| value.trim().to_ascii_lowercase());
        values.filter(|value| known.contains(&value.as_str())).collect()
    }

    /// A number, if it is one within `bounds`.
    pub(crate) fn number(&self, name: &str, bounds: &RangeInclusive<u32>) -> Option<u32> {
        number(bounds, self.get(name)?)
    }

    /// How many of something.
    pub(crate) fn size(&self, name: &str, default: usize) -> usize {
        self.number(name, &SIZE).map_or(default, |number| number as usize)
    }

    pub(crate) fn millis(&self, name: &str, default: Duration) -> Duration {
        self.number(name, &DELAY).map_or(default, |millis| Duration::from_millis(millis.into()))
    }

    /// A variable of the OTLP exporter: the signal's own, or the one for all signals.
    fn exporter(&self, signal: Signal, what: &str) -> Option<(String, &str)> {
        let mut names = exporter_variables(signal, what).into_iter();
        names.find_map(|name| self.get(&name).map(|value| (name.clone(), value)))
    }

    /// The same, parsed. A value that cannot be parsed is as good as not set.
    fn exporter_as<T>(&self, signal: Signal, what: &str, parse: impl Fn(&str) -> Option<T>) -> Option<T> {
        exporter_variables(signal, what).iter().find_map(|name| parse(self.get(name)?))
    }

    /// Whether an endpoint says where `signal` would go.
    pub(crate) fn has_endpoint(&self, signal: Signal) -> bool {
        self.exporter(signal, "ENDPOINT").is_some()
    }

    /// Whether `signal` is printed on stdout.
    pub(crate) fn console(&self, signal: Signal) -> bool {
        !self.disabled() && self.exporters(signal).iter().any(|name| name == "console")
    }

    /// `OTEL_SDK_DISABLED`.
    pub(crate) fn disabled(&self) -> bool {
        self.get("OTEL_SDK_DISABLED").and_then(boolean) == Some(true)
    }

    /// The exporters of `signal` that exist; OTLP where none is named.
    fn exporters(&self, signal: Signal) -> Vec<String> {
        let mut names = self.list(&format!("OTEL_{}_EXPORTER", signal.as_str()), &EXPORTERS);
        if names.is_empty() {
            return vec!["otlp".into()];
        }
        if names.iter().any(|name| name == "none") {
            names.clear();
        }
        names
    }

    /// Where `signal` is sent by OTLP, if anywhere. What cannot be ignored without sending telemetry elsewhere, or
    /// less safely, than the environment says goes to `error`; everything else is warned of by
    /// [`variables`](crate::variables).
    pub(crate) fn target(&self, signal: Signal, error: &mut SettingsError) -> Option<Target> {
        let (variable, endpoint) = self.exporter(signal, "ENDPOINT")?;
        if self.disabled() || !self.exporters(signal).iter().any(|name| name == "otlp") {
            return None;
        }
        let protocol = self.protocol(signal);
        Some(Target {
            protocol,
            tls: self.tls(signal, error),
            endpoint: self.endpoint(signal, protocol, &variable, endpoint, error)?,
            timeout: self.timeout(signal),
            headers: self.exporter(signal, "HEADERS").map(|(_, value)| headers(value).0).unwrap_or_default(),
            compression: self.compression(signal),
        })
    }

    /// What is wrong with where the signals are sent, and which files of TLS cannot be read.
    pub(crate) fn errors(&self) -> SettingsError {
        let mut error = SettingsError::default();
        for signal in Signal::ALL {
            let target = self.target(signal, &mut error);
            if let Some(TlsFiles { ca, cert, key }) = target.filter(Target::is_https).map(|target| target.tls)
            {
                for NamedFile { variable, path } in [ca, cert, key].into_iter().flatten() {
                    error.note_file(&variable, &path);
                }
            }
        }
        error.with_unreadable_files()
    }

    /// The files of TLS, without half a pair.
    fn tls(&self, signal: Signal, error: &mut SettingsError) -> TlsFiles {
        let file = |what| {
            let (variable, path) = self.exporter(signal, what)?;
            Some(NamedFile { variable, path: path.into() })
        };
        let mut files =
            TlsFiles { ca: file("CERTIFICATE"), cert: file("CLIENT_CERTIFICATE"), key: file("CLIENT_KEY") };
        let half = |set: &str, missing: &str, error: &mut SettingsError| {
            let message =
                format_args!("client certificate and key must both be set; {missing} is not").to_string();
            error.push(set, message);
        };
        match (&files.cert, &files.key) {
            (Some(NamedFile { variable, .. }), None) => {
                half(variable, &variable.replace("CLIENT_CERTIFICATE", "CLIENT_KEY"), error);
            }
            (None, Some(NamedFile { variable, .. })) => {
                half(variable, &variable.replace("CLIENT_KEY", "CLIENT_CERTIFICATE"), error);
            }
            _ => return files,
        }
        (files.cert, files.key) = (None, None);
        files
    }

    fn protocol(&self, signal: Signal) -> Protocol {
        let parse = |value: &str| match value.to_ascii_lowercase().as_str() {
            "grpc" => Some(Protocol::Grpc),
            "http/protobuf" => Some(Protocol::Http),
            _ => None,
        };
        self.exporter_as(signal, "PROTOCOL", parse).unwrap_or(Protocol::Grpc)
    }

    fn compression(&self, signal: Signal) -> Option<Compression> {
        let parse = |value: &str| match value.to_ascii_lowercase().as_str() {
            "gzip" => Some(Some(Compression::Gzip)),
            "none" => Some(None),
            _ => None,
        };
        self.exporter_as(signal, "COMPRESSION", parse).flatten()
    }

    fn endpoint(
        &self,
        signal: Signal,
        protocol: Protocol,
        variable: &str,
        value: &str,
        error: &mut SettingsError,
    ) -> Option<Uri> {
        let mut endpoint = value.to_owned();
        if protocol == Protocol::Grpc && !endpoint.contains("://") {
            let insecure = self.exporter_as(signal, "INSECURE", boolean).unwrap_or_default();
            endpoint = format!("{}://{endpoint}", if insecure { "http" } else { "https" });
        }
        let good = |uri: &Uri| {
            let host = uri.host().unwrap_or_default();
            matches!(uri.scheme_str(), Some("http" | "https")) && !host.is_empty()
        };
        // The endpoint for all signals is a base, a signal's own is taken as it is.
        let is_base = protocol == Protocol::Http && variable == "OTEL_EXPORTER_OTLP_ENDPOINT";
        let endpoint = endpoint.parse().ok().filter(good);
        let endpoint = endpoint.and_then(|uri| if is_base { below(uri, signal.path()) } else { Some(uri) });
        if endpoint.is_none() {
            // What stands before an `@` may be a password.
            let value = value.rsplit('@').next().unwrap_or_default();
            error.push(variable, format_args!("{value:?} is not a URL such as http://collector:4317"));
        }
        endpoint
    }

    /// 0 means no limit.
    fn timeout(&self, signal: Signal) -> Duration {
        match exporter_variables(signal, "TIMEOUT").iter().find_map(|name| self.number(name, &TIMEOUT)) {
            None => opentelemetry_otlp::OTEL_EXPORTER_OTLP_TIMEOUT_DEFAULT,
            Some(0) => NO_LIMIT,
            Some(millis) => Duration::from_millis(millis.into()),
        }
    }

    /// `OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE`.
    pub(crate) fn temporality(&self) -> Temporality {
        let value = self.get("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE");
        value.and_then(|value| value.parse().ok()).unwrap_or_default()
    }

    /// The sampler of `OTEL_TRACES_SAMPLER`, which the SDK reads too, but case-sensitively.
    pub(crate) fn sampler(&self) -> Sampler {
        let name = self.get("OTEL_TRACES_SAMPLER").unwrap_or_default().to_ascii_lowercase();
        let ratio = self.get("OTEL_TRACES_SAMPLER_ARG").and_then(ratio).unwrap_or(1.0);
        let (parent_based, root) = match name.strip_prefix("parentbased_") {
            Some(root) => (true, root),
            None => (false, name.as_str()),
        };
        let sampler = match root {
            "always_on" => Sampler::AlwaysOn,
            "always_off" => Sampler::AlwaysOff,
            "traceidratio" => Sampler::TraceIdRatioBased(ratio),
            _ => return Sampler::ParentBased(Box::new(Sampler::AlwaysOn)),
        };
        if parent_based { Sampler::ParentBased(Box::new(sampler)) } else { sampler }
    }

    /// Whether `OTEL_TRACES_SAMPLER_ARG` counts.
    pub(crate) fn samples_by_ratio(&self) -> bool {
        format!("{:?}", self.sampler()).contains("TraceIdRatioBased")
    }
}

/// The names of a variable of the OTLP exporter: the signal's own, and the one for all signals.
fn exporter_variables(signal: Signal, what: &str) -> [String; 2] {
    [format!("OTEL_EXPORTER_OTLP_{}_{what}", signal.as_str()), format!("OTEL_EXPORTER_OTLP_{what}")]
}

/// A base with the path of a signal, before its query.
fn below(base: Uri, path: &str) -> Option<Uri> {
    let mut path = format!("{}{path}", base.path().trim_end_matches('/'));
    if let Some(query) = base.query() {
        path = format!("{path}?{query}");
    }
    uri::Builder::from(base).path_and_query(path).build().ok()
}

fn boolean(value: &str) -> Option<bool> {
    value.to_ascii_lowercase().parse().ok()
}

/// A probability.
pub(crate) fn ratio(value: &str) -> Option<f64> {
    value.parse().ok().filter(|ratio| (0.0..=1.0).contains(ratio))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn environment(pairs: &[(&str, &str)]) -> Environment {
        let mut environment = Environment::default();
        for (name, value) in pairs {
            environment.set(name, value);
        }
        environment
    }

    fn endpoint(signal: Signal, pairs: &[(&str, &str)]) -> Option<(Protocol, String)> {
        let mut error = SettingsError::default();
        let target = environment(pairs).target(signal, &mut error);
        assert!(error.is_empty(), "{error}");
        target.map(|target| (target.protocol, target.endpoint.to_string()))
    }

    const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
    const PROTOCOL: &str = "OTEL_EXPORTER_OTLP_PROTOCOL";

    #[test]
    fn nothing_goes_anywhere_unless_an_endpoint_says_where() {
        assert_eq!(endpoint(Signal::Traces, &[]), None);
        assert_eq!(endpoint(Signal::Traces, &[(ENDPOINT, " ")]), None);
        assert_eq!(endpoint(Signal::Traces, &[("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "http://c:4317")]), None);
        let set = (ENDPOINT, "http://c:4317");
        assert_eq!(endpoint(Signal::Logs, &[set, ("OTEL_SDK_DISABLED", "True")]), None);
        assert_eq!(endpoint(Signal::Logs, &[set, ("OTEL_LOGS_EXPORTER", "none")]), None);
        assert_eq!(
            endpoint(Signal::Traces, &[set, ("OTEL_LOGS_EXPORTER", "none")]),
            Some((Protocol::Grpc, "http://c:4317/".into()))
        );
    }

    #[test]
    fn signal_path_is_added_to_base_endpoint_only() {
        let base = [(ENDPOINT, "http://c:4318/otlp/"), (PROTOCOL, "http/protobuf")];
        assert_eq!(
            endpoint(Signal::Metrics, &base),
            Some((Protocol::Http, "http://c:4318/otlp/v1/metrics".into()))
        );
        let own = [("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://m:4318/in")];
        assert_eq!(
            endpoint(Signal::Metrics, &[base[0], base[1], own[0]]),
            Some((Protocol::Http, "http://m:4318/in".into()))
        );
        let own = [("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "grpc")];
        assert_eq!(
            endpoint(Signal::Metrics, &[(ENDPOINT, "http://c:4317"), base[1], own[0]]),
            Some((Protocol::Grpc, "http://c:4317/".into()))
        );
    }

    #[test]
    fn path_of_the_signal_stands_before_the_query_of_a_base() {
        for (base, expected) in [
            ("http://c:4318/?key=x", "http://c:4318/v1/traces?key=x"),
            ("http://c:4318?key=x/y", "http://c:4318/v1/traces?key=x/y"),
            ("http://c:4318/otlp/?", "http://c:4318/otlp/v1/traces?"),
        ] {
            let set = [(ENDPOINT, base), (PROTOCOL, "http/protobuf")];
            assert_eq!(endpoint(Signal::Traces, &set), Some((Protocol::Http, expected.into())), "{base}");
        }
    }

    #[test]
    fn https_is_recognized_in_any_case() {
        for (value, expected) in [
            ("https://c:4317", true),
            ("HTTPS://c:4317", true),
            ("hTTpS://c:4317", true),
            ("c:4317", true),
            ("HTTP://c:4317", false),
        ] {
            let mut error = SettingsError::default();
            let target = environment(&[(ENDPOINT, value)]).target(Signal::Logs, &mut error).unwrap();
            assert_eq!(target.is_https(), expected, "{value}");
        }
    }

    #[test]
    fn ignored_value_of_a_signal_gives_way_to_the_general_one() {
        let target = |pairs: &[(&str, &str)]| {
            let pairs = [pairs, &[(ENDPOINT, "http://c:4317")]].concat();
            environment(&pairs).target(Signal::Logs, &mut SettingsError::default()).unwrap()
        };
        let protocol = (PROTOCOL, "http/protobuf");
        assert_eq!(
            target(&[protocol, ("OTEL_EXPORTER_OTLP_LOGS_PROTOCOL", "http/json")]).protocol,
            Protocol::Http
        );
        assert_eq!(
            target(&[protocol, ("OTEL_EXPORTER_OTLP_LOGS_PROTOCOL", "grpc")]).protocol,
            Protocol::Grpc
        );
        let timeout = [("OTEL_EXPORTER_OTLP_TIMEOUT", "250"), ("OTEL_EXPORTER_OTLP_LOGS_TIMEOUT", "10s")];
        assert_eq!(target(&timeout).timeout, Duration::from_millis(250));
        let compression = ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip");
        let of_logs = |value| ("OTEL_EXPORTER_OTLP_LOGS_COMPRESSION", value);
        assert_eq!(target(&[compression, of_logs("zstd")]).compression, Some(Compression::Gzip));
        assert_eq!(target(&[compression, of_logs("None")]).compression, None);
        let headers = [("OTEL_EXPORTER_OTLP_HEADERS", "a=1"), ("OTEL_EXPORTER_OTLP_LOGS_HEADERS", "")];
        assert_eq!(target(&headers).headers["a"], "1");
        let insecure = [
            (ENDPOINT, "c:4317"),
            ("OTEL_EXPORTER_OTLP_INSECURE", "true"),
            ("OTEL_EXPORTER_OTLP_LOGS_INSECURE", "yes"),
        ];
        let mut error = SettingsError::default();
        assert!(!environment(&insecure).target(Signal::Logs, &mut error).unwrap().is_https());
    }

    #[test]
    fn endpoint_without_scheme_is_https_unless_insecure() {
        let set = (ENDPOINT, "c:4317");
        assert_eq!(endpoint(Signal::Traces, &[set]), Some((Protocol::Grpc, "https://c:4317/".into())));
        assert_eq!(
            endpoint(Signal::Traces, &[set, ("OTEL_EXPORTER_OTLP_INSECURE", "true")]),
            Some((Protocol::Grpc, "http://c:4317/".into()))
        );
    }

    #[test]
    fn exporter_list_ignores_case_and_unknown_names() {
        let set = (ENDPOINT, "http://c:4317");
        for (value, otlp, console) in [
            ("OTLP,Console", true, true),
            ("console", false, true),
            ("None", false, false),
            ("zipkin", true, false),
        ] {
            let pairs = [set, ("OTEL_TRACES_EXPORTER", value)];
            assert_eq!(endpoint(Signal::Traces, &pairs).is_some(), otlp, "{value}");
            assert_eq!(environment(&pairs).console(Signal::Traces), console, "{value}");
        }
    }

    #[test]
    fn timeout_zero_means_no_limit_and_unparsable_the_default() {
        let timeout = |value| environment(&[("OTEL_EXPORTER_OTLP_TIMEOUT", value)]).timeout(Signal::Logs);
        assert_eq!(timeout("0"), NO_LIMIT);
        assert_eq!(timeout("250"), Duration::from_millis(250));
        assert_eq!(timeout("10s"), Duration::from_secs(10));
        assert_eq!(timeout("18446744073709551615"), Duration::from_secs(10));
    }

    #[test]
    fn sampler_is_case_insensitive_and_falls_back_to_the_default() {
        let sampler = |name, arg| {
            let pairs = [("OTEL_TRACES_SAMPLER", name), ("OTEL_TRACES_SAMPLER_ARG", arg)];
            format!("{:?}", environment(&pairs).sampler())
        };
        assert_eq!(sampler("Always_Off", ""), "AlwaysOff");
        assert_eq!(sampler("parentbased_traceidratio", "0.25"), "ParentBased(TraceIdRatioBased(0.25))");
        assert_eq!(sampler("traceidratio", "0,1"), "TraceIdRatioBased(1.0)");
        assert_eq!(sampler("always_offf", ""), "ParentBased(AlwaysOn)");
    }

    #[test]
    fn unsafe_values_are_all_errors_at_once() {
        let mut error = SettingsError::default();
        let environment = environment(&[
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "ftp://c"),
            ("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "c d"),
            ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", "cert.pem"),
        ]);
        for signal in Signal::ALL {
            assert_eq!(environment.target(signal, &mut error), None);
        }
        for name in ["TRACES_ENDPOINT", "LOGS_ENDPOINT", "CLIENT_CERTIFICATE"] {
            assert!(error.names(&format!("OTEL_EXPORTER_OTLP_{name}")), "{name} in {error}");
        }
    }

    #[test]
    fn error_on_an_endpoint_hides_its_password() {
        for value in ["ftp://me:secret@c", "http://me:sec@ret@c d", "http://me:secret@"] {
            let mut error = SettingsError::default();
            assert_eq!(environment(&[(ENDPOINT, value)]).target(Signal::Logs, &mut error), None, "{value}");
            assert!(error.names(ENDPOINT) && !error.to_string().contains("sec"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn any_endpoint_is_refused_or_uses_tls_unless_http(
            value in "([hH][tT][tT][pP][sS]?://)?[a-z.:@/?#]{0,12}\\PC{0,12}",
            http in any::<bool>(),
        ) {
            let protocol = if http { "http/protobuf" } else { "grpc" };
            let environment = environment(&[(ENDPOINT, &value), (PROTOCOL, protocol)]);
            let mut error = SettingsError::default();
            match environment.target(Signal::Logs, &mut error) {
                Some(target) => {
                    let scheme = value.trim().split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
                    let https = scheme.is_none_or(|scheme| scheme == "https");
                    prop_assert_eq!(target.is_https(), https);
                    prop_assert!(https || target.endpoint.scheme_str() == Some("http"));
                }
                None => prop_assert!(value.trim().is_empty() || error.names(ENDPOINT)),
            }
        }
    }
}
