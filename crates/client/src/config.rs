//! The settings of `kelvin-client`.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use http::{Uri, uri::Authority};
use kelvin_app::SettingsError;
use kelvin_proto::CallType;

kelvin_app::settings! {
    /// The settings of one client.
    pub struct Config {
        /// Which call the client makes: `unary`, `client-streaming`, `server-streaming` or `bidi-streaming`.
        pub client_rpc: CallType = "unary",
        /// URL of the server. All addresses of the name are used; `http://` is plain text.
        pub server: Uri = "https://localhost:50051",
        /// CA bundle that the server is verified with, PEM; empty for the trusted roots of the system.
        pub tls_ca: Option<PathBuf> = "",
        /// Certificate chain of the client, PEM, for mutual TLS.
        pub tls_cert: Option<PathBuf> = "",
        /// Private key of `KELVIN_TLS_CERT`, PEM.
        pub tls_key: Option<PathBuf> = "",
        /// Name in the server's certificate, if it is not the host of `KELVIN_SERVER`.
        pub tls_server_name: Option<String> = "",
        /// File with the token; the first one is sent, without its name.
        pub token_file: Option<PathBuf> = "",
        /// How often files are checked for changes.
        pub reload_interval: Duration = "10s",
        /// Number of simulated sensors.
        pub sensors: u32 = "10",
        /// Prefix of the sensors' names, such as `unary-`; empty for the kind of call,
        /// and for `server-streaming`, which reads, that of `unary`.
        pub sensor_prefix: Option<String> = "",
        /// Minimum interval between readings, or between the calls that read.
        pub interval_min: Duration = "500ms",
        /// Maximum interval.
        pub interval_max: Duration = "1500ms",
        /// The same seed simulates the same temperatures; empty for a random one.
        pub seed: Option<u64> = "",
        /// Deadline of a call; of a stream, time limit of an answer.
        pub deadline: Duration = "10s",
        /// Duration of a stream, ±20 %, after which the next one begins. Shorter than the server's own
        /// limit.
        pub stream_duration: Duration = "1m",
        /// `server-streaming` only: keeps each call open for `KELVIN_STREAM_DURATION` and receives readings as they
        /// arrive.
        pub follow: bool = "false",
        /// Number of readings that are buffered while the server is unreachable; beyond it the oldest are dropped.
        pub backlog: usize = "10000",
        /// How often the server's name is resolved. It is also resolved when a connection breaks.
        pub dns_refresh: Duration = "30s",
        /// Time limit at shutdown for the last readings to be acknowledged.
        pub drain_timeout: Duration = "10s",
        /// Address that serves `/livez` and `/readyz` over plain HTTP; empty to disable.
        pub health_listen: Option<SocketAddr> = "",
        /// Records `rpc.client.call.duration` of OpenTelemetry's conventions beside `grpc.client.call.duration`.
        pub rpc_metrics: bool = "false",
        /// Serves all metrics at `/metrics` of `KELVIN_HEALTH_LISTEN`, in the text format that Prometheus scrapes.
        pub prometheus: bool = "false",
    }
    check = check;
    renamed = { "KELVIN_STREAM_LENGTH" => "KELVIN_STREAM_DURATION" };
}

/// No stream is longer: deadlines of gRPC have eight digits.
const MAX_LENGTH: Duration = Duration::from_hours(24);

fn check(config: &Config, error: &mut SettingsError) {
    if config.server.authority().and_then(Authority::port_u16).is_none() {
        error.push("KELVIN_SERVER", format_args!("{} names no port, such as :50051", config.server));
    }
    let files = [
        ("KELVIN_TLS_CA", &config.tls_ca),
        ("KELVIN_TLS_CERT", &config.tls_cert),
        ("KELVIN_TLS_KEY", &config.tls_key),
    ];
    for (variable, _) in files.iter().filter(|(_, file)| file.is_some() && !config.tls()) {
        error.push(variable, "has no effect with a KELVIN_SERVER that begins with http://: use https://");
    }
    if config.prometheus && config.health_listen.is_none() {
        error.push("KELVIN_PROMETHEUS", "needs KELVIN_HEALTH_LISTEN, the port that serves /metrics");
    }
    if config.tls_cert.is_some() != config.tls_key.is_some() {
        let missing = if config.tls_cert.is_some() { "KELVIN_TLS_KEY" } else { "KELVIN_TLS_CERT" };
        error.push(missing, "certificate and key go together: set both or none");
    }
    if let Some(name) = &config.tls_server_name
        && name.parse::<Authority>().is_err()
    {
        error.push("KELVIN_TLS_SERVER_NAME", format_args!("{name:?} is not a host name"));
    }
    if config.interval_min > config.interval_max {
        error.push("KELVIN_INTERVAL_MIN", "is longer than KELVIN_INTERVAL_MAX");
    }
    for (variable, number) in
        [("KELVIN_SENSORS", config.sensors as usize), ("KELVIN_BACKLOG", config.backlog)]
    {
        if number == 0 {
            error.push(variable, "must be 1 or more");
        }
    }
    for (variable, length) in [
        ("KELVIN_DEADLINE", config.deadline),
        ("KELVIN_STREAM_DURATION", config.stream_duration),
        ("KELVIN_DNS_REFRESH", config.dns_refresh),
        ("KELVIN_RELOAD_INTERVAL", config.reload_interval),
        ("KELVIN_INTERVAL_MAX", config.interval_max),
    ] {
        if length.is_zero() || length > MAX_LENGTH {
            error.push(variable, "must be greater than zero and at most 24h");
        }
    }
}

impl Config {
    /// Whether the server is spoken to over TLS.
    #[must_use]
    pub fn tls(&self) -> bool {
        self.server.scheme_str() == Some("https")
    }

    /// Host and port to connect to.
    pub(crate) fn host_and_port(&self) -> (&str, u16) {
        // An IPv6 address stands in brackets.
        let host = self.server.host().unwrap_or_default().trim_matches(['[', ']']);
        (host, self.server.port_u16().unwrap_or_default())
    }

    /// Scheme and authority of every request: the name in the server's certificate, if one is given.
    pub(crate) fn origin(&self) -> Uri {
        let (host, port) = self.host_and_port();
        let name = self.tls_server_name.as_deref().or(self.server.host()).unwrap_or(host);
        let scheme = self.server.scheme_str().unwrap_or("https");
        Uri::builder()
            .scheme(scheme)
            .authority(format!("{name}:{port}"))
            .path_and_query("/")
            .build()
            .expect("host and name were checked when the settings were read")
    }

    /// The names of the sensors.
    pub(crate) fn sensor_ids(&self) -> impl Iterator<Item = String> + use<> {
        let prefix = self.sensor_prefix.clone().unwrap_or_else(|| match self.client_rpc {
            CallType::ServerStreaming => format!("{}-", CallType::Unary),
            rpc => format!("{rpc}-"),
        });
        (1..=self.sensors).map(move |number| format!("{prefix}{number}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_all_that_is_wrong_at_once() {
        let error = Config::from_pairs([
            ("KELVIN_SERVER", "https://kelvin"),
            ("KELVIN_TLS_KEY", "key.pem"),
            ("KELVIN_TLS_SERVER_NAME", "not a name"),
            ("KELVIN_CLIENT_RPC", "chat"),
            ("KELVIN_SENSORS", "0"),
            ("KELVIN_INTERVAL_MIN", "10s"),
            ("KELVIN_STREAM_DURATION", "365d"),
        ])
        .unwrap_err();
        for variable in [
            "SERVER",
            "TLS_CERT",
            "TLS_SERVER_NAME",
            "CLIENT_RPC",
            "SENSORS",
            "INTERVAL_MIN",
            "STREAM_DURATION",
        ] {
            assert!(error.names(&format!("KELVIN_{variable}")), "{variable} in: {error}");
        }
    }

    #[test]
    fn tls_files_without_tls_are_rejected() {
        for variable in ["KELVIN_TLS_CA", "KELVIN_TLS_CERT", "KELVIN_TLS_KEY"] {
            let pairs = [("KELVIN_SERVER", "http://localhost:50051"), (variable, "file.pem")];
            assert!(Config::from_pairs(pairs).unwrap_err().names(variable), "{variable}");
        }
        Config::from_pairs([("KELVIN_SERVER", "https://localhost:50051")]).unwrap();
    }

    #[test]
    fn former_name_of_the_stream_duration_works() {
        let config = Config::from_pairs([("KELVIN_STREAM_LENGTH", "5s")]).unwrap();
        assert_eq!(config.stream_duration, Duration::from_secs(5));
    }

    #[test]
    fn knows_host_port_and_sensors() {
        let config = Config::from_pairs([
            ("KELVIN_SERVER", "http://[::1]:50051"),
            ("KELVIN_SENSORS", "2"),
            ("KELVIN_CLIENT_RPC", "server-streaming"),
        ])
        .unwrap();
        assert_eq!(config.host_and_port(), ("::1", 50051));
        assert!(!config.tls());
        assert_eq!(config.sensor_ids().collect::<Vec<_>>(), ["unary-1", "unary-2"]);
    }
}
