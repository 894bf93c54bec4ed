//! The settings of `kelvin-client`.

use std::{
    net::{Ipv6Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use http::{Uri, uri::Authority};
use kelvin_app::{SettingsError, settings::Reader};
use kelvin_proto::CallType;
use tokio_rustls::rustls::pki_types::ServerName;

kelvin_app::settings! {
    /// The settings of one client.
    pub struct Config {
        /// Which call the client makes: `unary`, `client-streaming`, `server-streaming` or `bidi-streaming`.
        pub client_rpc: CallType = "unary",
        /// URL of the server: scheme, host and port. All addresses that the host resolves to are used; with `http://` there is no TLS.
        pub server: Uri = "https://localhost:50051",
        /// CA bundle that the server is verified with, PEM; empty for the trusted roots of the system.
        pub tls_ca: Option<PathBuf> = "",
        /// Certificate chain of the client, PEM, for mutual TLS.
        pub tls_cert: Option<PathBuf> = "",
        /// Private key of `KELVIN_TLS_CERT`, PEM.
        pub tls_key: Option<PathBuf> = "",
        /// Name in the server's certificate, if it is not the host of `KELVIN_SERVER`.
        pub tls_server_name: Option<String> = "",
        /// File with the token; only the first token in it is sent, without its name.
        pub token_file: Option<PathBuf> = "",
        /// How often files are checked for changes.
        pub reload_interval: Duration = "10s",
        /// Number of simulated sensors, at most 1000000.
        pub sensors: u32 = "10",
        /// Prefix of the sensor ids; empty: the call type and a hyphen, as in `unary-`. A `server-streaming` client only
        /// reads, and uses `unary-`.
        pub sensor_prefix: Option<String> = "",
        /// Minimum interval between readings, or between the calls of `server-streaming`.
        pub interval_min: Duration = "500ms",
        /// Maximum interval.
        pub interval_max: Duration = "1500ms",
        /// Seed of the simulation; the same seed gives the same temperatures. Empty for a random seed.
        pub seed: Option<u64> = "",
        /// Deadline of a call; in a stream, the time limit for a response.
        pub deadline: Duration = "10s",
        /// Duration of a stream, ±20 %, after which the next one begins. Should be shorter than the server's
        /// `KELVIN_MAX_STREAM_AGE`.
        pub stream_duration: Duration = "1m",
        /// `server-streaming` only: keeps each call open for `KELVIN_STREAM_DURATION` and receives readings as they
        /// arrive.
        pub follow: bool = "false",
        /// Number of readings that are buffered while the server is unreachable, at most 1000000; beyond it the oldest are
        /// dropped.
        pub backlog: usize = "10000",
        /// How often the server's name is resolved. It is also resolved when a connection breaks.
        pub dns_refresh: Duration = "30s",
        /// Time limit at shutdown for the last readings to be acknowledged.
        pub drain_timeout: Duration = "10s",
        /// Address that serves `/livez` and `/readyz` over plain HTTP; empty to disable.
        pub health_listen: Option<SocketAddr> = "",
        /// Records `rpc.client.call.duration` of OpenTelemetry's semantic conventions in addition to `grpc.client.call.duration`.
        pub rpc_metrics: bool = "false",
        /// Serves all metrics at `/metrics` of `KELVIN_HEALTH_LISTEN`, in the text format that Prometheus scrapes.
        pub prometheus: bool = "false",
    }
    check = check;
    renamed = { "KELVIN_STREAM_LENGTH" => "KELVIN_STREAM_DURATION" };
}

/// No stream is longer: deadlines of gRPC have eight digits.
const MAX_DURATION: Duration = Duration::from_hours(24);

/// Sensors, and readings that wait: some 100 MB.
const MAX_COUNT: usize = 1_000_000;
/// Bytes of the longest sensor id that servers accept.
const MAX_SENSOR_ID: usize = 128;

fn check(config: &Config, reader: &mut Reader) {
    let error = reader.error();
    check_server(config, error);
    check_sensors(config, error);
    warn_about_unused_settings(config, reader);
}

fn check_server(config: &Config, error: &mut SettingsError) {
    let authority = config.server.authority().map_or("", Authority::as_str);
    if authority.contains('@') {
        // It would be a label of metrics, and what stands before it may be a password.
        error.push(
            "KELVIN_SERVER",
            "must not contain a user name or a password: put the token into a file and set KELVIN_TOKEN_FILE",
        );
    } else if kelvin_app::host_and_port(authority).is_none() {
        error.push("KELVIN_SERVER", format_args!("{} needs a port, such as :50051", config.server));
    } else if config.server.path_and_query().is_some_and(|path| path != "/") {
        error.push("KELVIN_SERVER", format_args!("{} must end with the port", config.server));
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
        error.push(missing, "certificate and key go together: set both or neither");
    }
    if let Some(name) = &config.tls_server_name
        && ServerName::try_from(name.as_str()).is_err()
    {
        error.push("KELVIN_TLS_SERVER_NAME", format_args!("{name:?} is not a host name or an IP address"));
    }
}

fn check_sensors(config: &Config, error: &mut SettingsError) {
    if config.interval_min > config.interval_max {
        error.push("KELVIN_INTERVAL_MIN", "must be at most KELVIN_INTERVAL_MAX");
    }
    for (variable, number) in
        [("KELVIN_SENSORS", config.sensors as usize), ("KELVIN_BACKLOG", config.backlog)]
    {
        if !(1..=MAX_COUNT).contains(&number) {
            error.push(variable, format_args!("must be from 1 to {MAX_COUNT}"));
        }
    }
    if let Some(prefix) = &config.sensor_prefix {
        let longest = prefix.len() + config.sensors.to_string().len();
        if longest > MAX_SENSOR_ID {
            error.push(
                "KELVIN_SENSOR_PREFIX",
                format_args!(
                    "makes sensor ids of {longest} bytes, but servers accept at most {MAX_SENSOR_ID}"
                ),
            );
        }
    }
    for (variable, length) in [
        ("KELVIN_DEADLINE", config.deadline),
        ("KELVIN_STREAM_DURATION", config.stream_duration),
        ("KELVIN_DNS_REFRESH", config.dns_refresh),
        ("KELVIN_RELOAD_INTERVAL", config.reload_interval),
        ("KELVIN_INTERVAL_MAX", config.interval_max),
    ] {
        if length.is_zero() || length > MAX_DURATION {
            error.push(variable, "must be greater than zero and at most 24h");
        }
    }
}

/// Warns of settings for other types of calls.
fn warn_about_unused_settings(config: &Config, reader: &mut Reader) {
    let only_reads = config.client_rpc == CallType::ServerStreaming;
    if config.follow && !only_reads {
        reader.warn("KELVIN_FOLLOW", "has no effect without KELVIN_CLIENT_RPC=server-streaming");
    }
    for variable in ["KELVIN_SEED", "KELVIN_BACKLOG"] {
        if only_reads && reader.is_set(variable) {
            reader.warn(variable, "has no effect with KELVIN_CLIENT_RPC=server-streaming, which only reads");
        }
    }
    let has_streams = match config.client_rpc {
        CallType::Unary => false,
        CallType::ServerStreaming => config.follow,
        CallType::ClientStreaming | CallType::BidiStreaming => true,
    };
    if !has_streams && reader.is_set("KELVIN_STREAM_DURATION") {
        reader.warn(
            "KELVIN_STREAM_DURATION",
            "has no effect on unary, nor on server-streaming without KELVIN_FOLLOW=true",
        );
    }
}

impl Config {
    /// Returns whether connections to the server use TLS.
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
        let name = self.tls_server_name.as_deref().unwrap_or(host);
        let name = if name.parse::<Ipv6Addr>().is_ok() { format!("[{name}]") } else { name.to_owned() };
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
    use kelvin_app::Settings as _;

    use super::*;

    #[test]
    fn all_invalid_settings_are_in_one_error() {
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
    fn values_that_cannot_work_are_rejected() {
        let long = "x".repeat(127);
        for (variable, value) in [
            ("KELVIN_SERVER", "https://h:0"),
            ("KELVIN_SERVER", "https://user:s3cret@h:1"),
            ("KELVIN_SERVER", "https://h:1/path"),
            ("KELVIN_SERVER", "https://h:1?query"),
            ("KELVIN_TLS_SERVER_NAME", "kelvin:443"),
            ("KELVIN_TLS_SERVER_NAME", "kelvin:"),
            ("KELVIN_TLS_SERVER_NAME", "user@kelvin"),
            ("KELVIN_TLS_SERVER_NAME", "[::1]"),
            ("KELVIN_SENSORS", "1000001"),
            ("KELVIN_BACKLOG", "0"),
            ("KELVIN_BACKLOG", "1000001"),
            ("KELVIN_SENSOR_PREFIX", long.as_str()), // with 10 sensors
        ] {
            let error = Config::from_pairs([(variable, value)]).unwrap_err();
            assert!(error.names(variable), "{value}: {error}");
            assert!(!error.to_string().contains("s3cret"), "{error}");
        }
        Config::from_pairs([("KELVIN_SENSOR_PREFIX", &long[1..])]).unwrap();
    }

    #[test]
    fn every_accepted_server_name_gives_an_origin() {
        for (name, origin) in
            [("kelvin_1.example", "https://kelvin_1.example:1/"), ("::1", "https://[::1]:1/")]
        {
            let pairs = [("KELVIN_SERVER", "https://192.0.2.1:1"), ("KELVIN_TLS_SERVER_NAME", name)];
            assert_eq!(Config::from_pairs(pairs).unwrap().origin().to_string(), origin);
        }
        let config = Config::from_pairs([("KELVIN_SERVER", "https://[::1]:1")]).unwrap();
        assert_eq!(config.origin().to_string(), "https://[::1]:1/");
    }

    #[test]
    fn ineffective_setting_gives_a_warning() {
        let warned = |pairs: &[(&str, &str)]| {
            let (_, warnings) = Config::read(pairs.iter().copied()).unwrap();
            warnings.into_iter().map(|warning| warning.variable).collect::<Vec<_>>()
        };
        let [follow, seed, backlog, duration] = [
            ("KELVIN_FOLLOW", "true"),
            ("KELVIN_SEED", "1"),
            ("KELVIN_BACKLOG", "1"),
            ("KELVIN_STREAM_DURATION", "1m"),
        ];
        for (rpc, settings, without_effect) in [
            ("unary", &[follow, seed, backlog, duration][..], &[follow, duration][..]),
            ("bidi-streaming", &[follow, seed, backlog, duration], &[follow]),
            ("server-streaming", &[seed, backlog, duration], &[seed, backlog, duration]),
            ("server-streaming", &[follow, duration], &[]),
        ] {
            let pairs = [&[("KELVIN_CLIENT_RPC", rpc)], settings].concat();
            let expected: Vec<_> = without_effect.iter().map(|(variable, _)| *variable).collect();
            assert_eq!(warned(&pairs), expected, "{rpc}");
        }
    }

    #[test]
    fn former_name_of_the_stream_duration_works() {
        let config = Config::from_pairs([("KELVIN_STREAM_LENGTH", "5s")]).unwrap();
        assert_eq!(config.stream_duration, Duration::from_secs(5));
    }

    #[test]
    fn host_port_and_sensor_ids_are_derived() {
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
