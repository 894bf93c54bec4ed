//! What the `OTEL_*` variables say of where telemetry goes, as far as the SDK leaves it to us:
//! <https://opentelemetry.io/docs/specs/otel/protocol/exporter/>.

use std::{collections::BTreeMap, env, path::PathBuf, time::Duration};

use crate::TelemetryError;

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
    /// CAs to trust in place of the system's.
    pub(crate) ca: Option<PathBuf>,
    /// A client certificate and its key.
    pub(crate) identity: Option<(PathBuf, PathBuf)>,
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

    /// A variable that is true when it says so and false otherwise.
    fn flag(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }

    /// An exporter's variable: the signal's own, or the one for all.
    fn exporter(&self, signal: Signal, what: &str) -> Option<(String, &str)> {
        [format!("OTEL_EXPORTER_OTLP_{}_{what}", signal.word()), format!("OTEL_EXPORTER_OTLP_{what}")]
            .into_iter()
            .find_map(|name| self.get(&name).map(|value| (name.clone(), value)))
    }

    /// Where `signal` goes; nowhere without an endpoint, and nowhere if told so.
    pub(crate) fn target(&self, signal: Signal) -> Result<Option<Target>, TelemetryError> {
        let none = self.get(&format!("OTEL_{}_EXPORTER", signal.word())) == Some("none");
        let Some((variable, endpoint)) = self.exporter(signal, "ENDPOINT") else { return Ok(None) };
        if none || self.flag("OTEL_SDK_DISABLED") {
            return Ok(None);
        }
        let protocol = self.protocol(signal)?;
        let path = |what| self.exporter(signal, what).map(|(_, path)| PathBuf::from(path));
        Ok(Some(Target {
            protocol,
            endpoint: self.endpoint(signal, protocol, variable, endpoint)?,
            timeout: self.timeout(signal)?,
            ca: path("CERTIFICATE"),
            identity: path("CLIENT_CERTIFICATE").zip(path("CLIENT_KEY")),
        }))
    }

    fn protocol(&self, signal: Signal) -> Result<Protocol, TelemetryError> {
        match self.exporter(signal, "PROTOCOL") {
            None | Some((_, "grpc")) => Ok(Protocol::Grpc),
            Some((_, "http/protobuf")) => Ok(Protocol::Http),
            Some((variable, value)) => Err(TelemetryError::Variable {
                variable,
                value: value.into(),
                expected: "`grpc` or `http/protobuf`",
            }),
        }
    }

    fn endpoint(
        &self,
        signal: Signal,
        protocol: Protocol,
        variable: String,
        value: &str,
    ) -> Result<String, TelemetryError> {
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
            let expected = "an address such as http://collector:4317";
            return Err(TelemetryError::Variable { variable, value: value.into(), expected });
        }
        // The endpoint for all signals is a base, a signal's own is taken as it is.
        if protocol == Protocol::Http && variable == "OTEL_EXPORTER_OTLP_ENDPOINT" {
            endpoint = format!("{}{}", endpoint.trim_end_matches('/'), signal.path());
        }
        Ok(endpoint)
    }

    fn timeout(&self, signal: Signal) -> Result<Duration, TelemetryError> {
        let Some((variable, value)) = self.exporter(signal, "TIMEOUT") else {
            return Ok(opentelemetry_otlp::OTEL_EXPORTER_OTLP_TIMEOUT_DEFAULT);
        };
        let expected = "a number of milliseconds";
        let millis = value.parse().map(Duration::from_millis);
        millis.map_err(|_| TelemetryError::Variable { variable, value: value.into(), expected })
    }
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
        environment(pairs).target(signal).unwrap().map(|target| (target.protocol, target.endpoint))
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
    fn without_a_scheme_it_is_https_unless_told() {
        let set = (ENDPOINT, "c:4317");
        assert_eq!(endpoint(Signal::Traces, &[set]), Some((Protocol::Grpc, "https://c:4317".into())));
        assert_eq!(
            endpoint(Signal::Traces, &[set, ("OTEL_EXPORTER_OTLP_INSECURE", "true")]),
            Some((Protocol::Grpc, "http://c:4317".into()))
        );
    }

    #[test]
    fn what_is_wrong_is_told_by_name() {
        for (name, value) in [
            (PROTOCOL, "http/json"),
            ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "10s"),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "ftp://c"),
        ] {
            let error = environment(&[(ENDPOINT, "http://c:4317"), (name, value)]).target(Signal::Traces);
            let text = error.unwrap_err().to_string();
            assert!(text.starts_with(&format!("{name}: {value:?} is not ")), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_endpoint_is_taken_with_a_scheme_or_refused(value in "\\PC{0,24}", http in any::<bool>()) {
            let protocol = if http { "http/protobuf" } else { "grpc" };
            let environment = environment(&[(ENDPOINT, &value), (PROTOCOL, protocol)]);
            match environment.target(Signal::Logs) {
                Ok(None) => prop_assert!(value.trim().is_empty()),
                Ok(Some(target)) => prop_assert!(target.endpoint.starts_with("http")),
                Err(error) => prop_assert!(error.to_string().starts_with(ENDPOINT)),
            }
        }
    }
}
