//! What the `OTEL_*` variables say of where telemetry goes, as far as the SDK leaves it to us:
//! <https://opentelemetry.io/docs/specs/otel/protocol/exporter/>.

use std::{collections::BTreeMap, env, time::Duration};

use kelvin_app::{NamedFile, SettingsError, TlsFiles};
use opentelemetry_sdk::trace::Sampler;

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
    /// As it stands in names of variables.
    fn word(self) -> &'static str {
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
    /// With a scheme and, for HTTP, with the signal's path.
    pub(crate) endpoint: String,
    /// For one export.
    pub(crate) timeout: Duration,
    /// CAs to trust in place of the system's, and a client certificate with its key.
    pub(crate) tls: TlsFiles,
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

    /// A list, separated by commas, in lower case.
    pub(crate) fn list(&self, name: &str) -> Vec<String> {
        let values = self.get(name).unwrap_or_default().split(',');
        values.map(|value| value.trim().to_ascii_lowercase()).filter(|value| !value.is_empty()).collect()
    }

    /// A variable that is true only if its value is `true`.
    fn flag(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }

    /// A variable of the OTLP exporter: the signal's own, or the one for all signals.
    fn exporter(&self, signal: Signal, what: &str) -> Option<(String, &str)> {
        [format!("OTEL_EXPORTER_OTLP_{}_{what}", signal.word()), format!("OTEL_EXPORTER_OTLP_{what}")]
            .into_iter()
            .find_map(|name| self.get(&name).map(|value| (name.clone(), value)))
    }

    /// Whether `signal` is printed on stdout.
    pub(crate) fn console(&self, signal: Signal) -> bool {
        !self.disabled() && self.exporters(signal).iter().any(|name| name == "console")
    }

    /// `OTEL_SDK_DISABLED`.
    pub(crate) fn disabled(&self) -> bool {
        self.flag("OTEL_SDK_DISABLED")
    }

    /// The exporters of `signal` that exist; OTLP where none is named.
    fn exporters(&self, signal: Signal) -> Vec<String> {
        let mut names = self.list(&format!("OTEL_{}_EXPORTER", signal.word()));
        names.retain(|name| EXPORTERS.contains(&name.as_str()));
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
        })
    }

    fn tls(&self, signal: Signal, error: &mut SettingsError) -> TlsFiles {
        let file = |what| {
            let (variable, path) = self.exporter(signal, what)?;
            Some(NamedFile { variable, path: path.into() })
        };
        let files =
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
            _ => {}
        }
        files
    }

    fn protocol(&self, signal: Signal) -> Protocol {
        match self.exporter(signal, "PROTOCOL") {
            Some((_, value)) if value.eq_ignore_ascii_case("http/protobuf") => Protocol::Http,
            _ => Protocol::Grpc,
        }
    }

    fn endpoint(
        &self,
        signal: Signal,
        protocol: Protocol,
        variable: &str,
        value: &str,
        error: &mut SettingsError,
    ) -> Option<String> {
        let mut endpoint = value.to_owned();
        if protocol == Protocol::Grpc && !endpoint.contains("://") {
            let insecure = self
                .exporter(signal, "INSECURE")
                .is_some_and(|(_, value)| value.eq_ignore_ascii_case("true"));
            endpoint = format!("{}://{endpoint}", if insecure { "http" } else { "https" });
        }
        let uri: Option<tonic::transport::Uri> = endpoint.parse().ok();
        let good = |uri: &tonic::transport::Uri| {
            matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some()
        };
        if !uri.as_ref().is_some_and(good) {
            error.push(variable, format_args!("{value:?} is not an address such as http://collector:4317"));
            return None;
        }
        // The endpoint for all signals is a base, a signal's own is taken as it is.
        if protocol == Protocol::Http && variable == "OTEL_EXPORTER_OTLP_ENDPOINT" {
            endpoint = format!("{}{}", endpoint.trim_end_matches('/'), signal.path());
        }
        Some(endpoint)
    }

    /// 0 means no limit.
    fn timeout(&self, signal: Signal) -> Duration {
        let millis = self.exporter(signal, "TIMEOUT").and_then(|(_, value)| value.parse().ok());
        match millis.map(Duration::from_millis) {
            None => opentelemetry_otlp::OTEL_EXPORTER_OTLP_TIMEOUT_DEFAULT,
            Some(Duration::ZERO) => NO_LIMIT,
            Some(limit) => limit,
        }
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
        target.map(|target| (target.protocol, target.endpoint))
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
            Some((Protocol::Grpc, "http://c:4317".into()))
        );
    }

    #[test]
    fn a_base_gets_the_path_of_the_signal_and_an_own_endpoint_does_not() {
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
            Some((Protocol::Grpc, "http://c:4317".into()))
        );
    }

    #[test]
    fn endpoint_without_scheme_is_https_unless_insecure() {
        let set = (ENDPOINT, "c:4317");
        assert_eq!(endpoint(Signal::Traces, &[set]), Some((Protocol::Grpc, "https://c:4317".into())));
        assert_eq!(
            endpoint(Signal::Traces, &[set, ("OTEL_EXPORTER_OTLP_INSECURE", "true")]),
            Some((Protocol::Grpc, "http://c:4317".into()))
        );
    }

    #[test]
    fn exporters_are_a_case_insensitive_list_and_unknown_ones_are_ignored() {
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
        for signal in [Signal::Traces, Signal::Metrics, Signal::Logs] {
            assert_eq!(environment.target(signal, &mut error), None);
        }
        for name in ["TRACES_ENDPOINT", "LOGS_ENDPOINT", "CLIENT_CERTIFICATE"] {
            assert!(error.names(&format!("OTEL_EXPORTER_OTLP_{name}")), "{name} in {error}");
        }
    }

    proptest! {
        #[test]
        fn any_endpoint_is_taken_with_a_scheme_or_refused(value in "\\PC{0,24}", http in any::<bool>()) {
            let protocol = if http { "http/protobuf" } else { "grpc" };
            let environment = environment(&[(ENDPOINT, &value), (PROTOCOL, protocol)]);
            let mut error = SettingsError::default();
            match environment.target(Signal::Logs, &mut error) {
                Some(target) => prop_assert!(target.endpoint.starts_with("http")),
                None => prop_assert!(value.trim().is_empty() || error.names(ENDPOINT)),
            }
        }
    }
}
