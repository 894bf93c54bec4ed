use std::{
    net::{IpAddr, SocketAddr},
    num::NonZeroU32,
    num::NonZeroUsize,
    path::PathBuf,
    time::Duration,
};

use kelvin_app::{Bytes, SettingsError, host_and_port, settings::Reader};
use kelvin_store::{Acknowledge, AlertSettings, Limits};

use crate::validate::TEMPERATURES;

/// The SDK keeps 2000 series per instrument and merges all further ones into one.
const MAX_SENSOR_METRICS: usize = 1900;

kelvin_app::keyword_enum! {
    /// Whether clients present certificates.
    pub enum Mtls {
        /// Clients are not asked for a certificate.
        None = "none",
        /// A certificate is verified if the client presents one.
        Optional = "optional",
        /// Connections without a valid certificate are rejected.
        Required = "required",
    }
}

kelvin_app::keyword_enum! {
    /// Where readings are kept.
    pub enum StoreKind {
        /// In the memory of this process.
        Memory = "memory",
        /// On Valkey, or Redis from version 7, shared by several servers.
        Valkey = "valkey",
    }
}

kelvin_app::settings! {
    /// The settings of the server.
    pub struct Config {
        /// Address to listen on for gRPC. `[::]` also accepts IPv4, and becomes `0.0.0.0` on a host without IPv6.
        pub listen: SocketAddr = "[::]:50051",
        /// Address that serves `/livez` and `/readyz` over plain HTTP; empty to disable.
        pub health_listen: Option<SocketAddr> = "[::]:8081",
        /// Records `rpc.server.call.duration` of OpenTelemetry's semantic conventions in addition to `grpc.server.call.duration`.
        pub rpc_metrics: bool = "false",
        /// Serves all metrics at `/metrics` of `KELVIN_HEALTH_LISTEN`, in the text format that Prometheus scrapes.
        pub prometheus: bool = "false",
        /// Worker threads, each with its own runtime and listener; 0 for one per core.
        pub workers: usize = "0",

        /// Certificate chain of the server, PEM. Like all files below, it is reloaded when it changes.
        pub tls_cert: Option<PathBuf> = "",
        /// Private key of `KELVIN_TLS_CERT`, PEM.
        pub tls_key: Option<PathBuf> = "",
        /// Certificate chain for the public names of the server, PEM; presented to clients that ask for one of them (SNI).
        pub tls_external_cert: Option<PathBuf> = "",
        /// Private key of `KELVIN_TLS_EXTERNAL_CERT`, PEM.
        pub tls_external_key: Option<PathBuf> = "",
        /// CA bundle that client certificates are verified with, PEM; for `KELVIN_MTLS`.
        pub tls_client_ca: Option<PathBuf> = "",
        /// Client certificates: `none`, `optional` or `required`. A certificate with the extended key usage `clientAuth` authenticates its caller.
        pub mtls: Mtls = "none",
        /// Serve without TLS. Tokens and readings then cross the network in the clear.
        pub plaintext: bool = "false",
        /// File with the accepted tokens, one per line; an optional name after white space identifies the caller in logs and spans.
        pub token_file: Option<PathBuf> = "",
        /// How often the files with certificates, keys, tokens and passwords are checked for changes.
        pub reload_interval: Duration = "10s",
        /// Serve gRPC reflection to authenticated callers.
        pub reflection: bool = "true",

        /// Where readings are kept: `memory` or `valkey`.
        pub store: StoreKind = "memory",
        /// Maximum number of readings per sensor; beyond it, the oldest are evicted.
        pub max_readings_per_sensor: NonZeroUsize = "100000",
        /// Maximum number of sensors; at the limit readings of new sensors are rejected.
        pub max_sensors: NonZeroUsize = "100000",
        /// Maximum number of readings in total.
        pub max_readings: NonZeroUsize = "10000000",
        /// Memory for sensors and their readings with `KELVIN_STORE=memory`; a reading takes 1 to 9 bytes, up to 19 with random timestamps. At the limit, the writing sensor's oldest readings are evicted.
        pub store_memory_limit: Bytes = "1GiB",
        /// How long a sensor may be idle before it expires.
        pub sensor_idle_timeout: Duration = "24h",
        /// Number of a sensor's newest readings that its recent mean covers, at most 10000.
        pub recent_window: NonZeroUsize = "60",
        /// Alert at or below this temperature in °C; empty to disable.
        pub alert_low: Option<f64> = "",
        /// Alert at or above this temperature in °C; empty to disable.
        pub alert_high: Option<f64> = "",
        /// Alert at this robust z-score against the sensor's recent history; empty to disable.
        pub alert_z_score: Option<f64> = "6",
        /// Number of sensors with their own gauges (`kelvin.sensor.temperature` and others), at most 1900; 0 to disable.
        pub sensor_metrics: usize = "0",
        /// How far a timestamp may be ahead of the server's clock.
        pub max_clock_skew: Duration = "1h",

        /// Maximum length of a request message.
        pub max_message_size: Bytes = "64KiB",
        /// Maximum size of the header list of a call.
        pub max_header_size: Bytes = "16KiB",
        /// Maximum number of concurrent calls per connection; further ones wait in the client.
        pub max_concurrent_streams: NonZeroU32 = "128",
        /// Maximum number of connections; at the limit, an unauthenticated one is closed to admit the new one. If all are
        /// authenticated, the new one is closed.
        pub max_connections: NonZeroUsize = "10000",
        /// Maximum number of connections without an authenticated call; at the limit the one that has been idle longest is closed.
        pub max_unauthenticated_connections: NonZeroUsize = "1000",
        /// How long a connection that has had no authenticated call may be idle, that is, without an open call.
        pub unauthenticated_idle_timeout: Duration = "2m",
        /// Memory limit for unread request bytes and unsent response bytes of all connections together; above it, the
        /// connections that buffer the most are closed.
        pub connection_memory_limit: Bytes = "128MiB",
        /// The part of `KELVIN_CONNECTION_MEMORY_LIMIT` for connections without an authenticated call.
        pub unauthenticated_memory_limit: Bytes = "32MiB",
        /// Time limit of the TLS handshake, and of the HTTP/2 preface after it.
        pub handshake_timeout: Duration = "5s",
        /// Age, ±10 %, at which a connection is closed gracefully and its client reconnects.
        pub max_connection_age: Duration = "30m",
        /// Age, ±10 %, at which a call is ended.
        pub max_stream_age: Duration = "1h",
        /// How long a connection may be idle before it is probed (TCP keepalive); one that does not answer for 20s is closed.
        pub keepalive_interval: Duration = "1m",
        /// After SIGTERM: how long to keep serving while not ready, so that no new clients connect.
        pub drain_delay: Duration = "5s",
        /// Time limit for open calls to end after `KELVIN_DRAIN_DELAY`.
        pub drain_timeout: Duration = "20s",

        /// Address of Valkey, `host:port`; with `KELVIN_VALKEY_CLUSTER=true` those of several nodes, separated by commas.
        pub valkey_address: Vec<String> = "",
        /// Use a Valkey cluster; `KELVIN_VALKEY_ADDRESS` lists some or all of its nodes.
        pub valkey_cluster: bool = "false",
        /// Valkey's ACL user; empty for the default user.
        pub valkey_username: Option<String> = "",
        /// File with Valkey's password.
        pub valkey_password_file: Option<PathBuf> = "",
        /// CA bundle that Valkey's certificate is verified with, PEM; empty for no TLS.
        pub valkey_tls_ca: Option<PathBuf> = "",
        /// Certificate chain to present to Valkey, PEM.
        pub valkey_tls_cert: Option<PathBuf> = "",
        /// Private key of `KELVIN_VALKEY_TLS_CERT`, PEM.
        pub valkey_tls_key: Option<PathBuf> = "",
        /// When a reading counts as stored: `primary`, `replica` or `fsync`.
        pub valkey_acknowledge: Acknowledge = "primary",
        /// Time limit of a request to Valkey.
        pub valkey_timeout: Duration = "1s",
    }
    check = check;
    renamed = {
        "KELVIN_SENSOR_IDLE" => "KELVIN_SENSOR_IDLE_TIMEOUT",
        "KELVIN_MAX_FUTURE" => "KELVIN_MAX_CLOCK_SKEW",
        "KELVIN_DRAIN_WAIT" => "KELVIN_DRAIN_DELAY",
    };
}

impl Config {
    pub(crate) fn limits(&self) -> Limits {
        Limits {
            readings_per_sensor: self.max_readings_per_sensor.get(),
            sensors: self.max_sensors.get(),
            readings: self.max_readings.get(),
            memory: self.store_memory_limit.0,
            idle: self.sensor_idle_timeout,
            recent_window: self.recent_window.get(),
        }
    }

    pub(crate) fn alerts(&self) -> AlertSettings {
        AlertSettings { low: self.alert_low, high: self.alert_high, z_score: self.alert_z_score }
    }
}

/// Linux refuses more than 32767 seconds.
const MAX_KEEPALIVE: Duration = Duration::from_hours(9);
/// Each request for a sensor's statistics reads so many readings.
const MAX_RECENT_WINDOW: usize = 10_000;
/// A few calls have to fit.
const MIN_CONNECTION_MEMORY: usize = 1 << 20;
/// More than any store has, and far from an overflow.
const MAX_COUNT: usize = 1_000_000_000_000;

fn check(config: &Config, reader: &mut Reader) {
    let error = reader.error();
    check_listeners(config, error);
    check_tls(config, error);
    check_limits(config, error);
    check_alerts(config, error);
    check_valkey(config, error);
    match config.store {
        StoreKind::Memory => check_valkey_unset(config, reader),
        StoreKind::Valkey if reader.is_set("KELVIN_STORE_MEMORY_LIMIT") => reader.warn(
            "KELVIN_STORE_MEMORY_LIMIT",
            "has no effect with KELVIN_STORE=valkey: limit Valkey's memory with its maxmemory",
        ),
        StoreKind::Valkey => {}
    }
}

fn check_listeners(config: &Config, error: &mut SettingsError) {
    if config.prometheus && config.health_listen.is_none() {
        error.push("KELVIN_PROMETHEUS", "needs KELVIN_HEALTH_LISTEN, the port that serves /metrics");
    }
    let overlap = |health: SocketAddr| {
        let any = [health.ip(), config.listen.ip()].iter().any(IpAddr::is_unspecified);
        health.port() == config.listen.port() && (any || health.ip() == config.listen.ip())
    };
    if config.listen.port() != 0 && config.health_listen.is_some_and(overlap) {
        error.push("KELVIN_HEALTH_LISTEN", "must use a different port than KELVIN_LISTEN");
    }
    if config.workers > 1024 {
        error.push("KELVIN_WORKERS", "must be at most 1024");
    }
}

fn check_tls(config: &Config, error: &mut SettingsError) {
    let files = [("KELVIN_TLS_CERT", &config.tls_cert), ("KELVIN_TLS_KEY", &config.tls_key)];
    for (variable, file) in files {
        match (config.plaintext, file) {
            (false, None) => {
                error.push(variable, "must be set, or KELVIN_PLAINTEXT=true to serve without TLS");
            }
            (true, Some(_)) => error.push(variable, "has no effect with KELVIN_PLAINTEXT=true"),
            _ => {}
        }
    }
    let external = [
        ("KELVIN_TLS_EXTERNAL_CERT", &config.tls_external_cert),
        ("KELVIN_TLS_EXTERNAL_KEY", &config.tls_external_key),
    ];
    for (variable, file) in external {
        if file.is_some() && config.plaintext {
            error.push(variable, "has no effect with KELVIN_PLAINTEXT=true");
        } else if file.is_none() && external.iter().any(|(_, file)| file.is_some()) {
            error.push(
                variable,
                "must be set: KELVIN_TLS_EXTERNAL_CERT and KELVIN_TLS_EXTERNAL_KEY go together",
            );
        }
    }
    if config.mtls == Mtls::None {
        if config.token_file.is_none() {
            error.push(
                "KELVIN_TOKEN_FILE",
                "must be set, or set KELVIN_MTLS=optional or required: otherwise no client can authenticate",
            );
        }
        if config.tls_client_ca.is_some() {
            error.push(
                "KELVIN_TLS_CLIENT_CA",
                "has no effect with KELVIN_MTLS=none: set KELVIN_MTLS=optional or required",
            );
        }
    } else if config.plaintext {
        error.push("KELVIN_MTLS", "needs TLS, but KELVIN_PLAINTEXT is true");
    } else if config.tls_client_ca.is_none() {
        error.push("KELVIN_TLS_CLIENT_CA", format_args!("must be set with KELVIN_MTLS={}", config.mtls));
    }
}

fn check_limits(config: &Config, error: &mut SettingsError) {
    let durations = [
        ("KELVIN_RELOAD_INTERVAL", config.reload_interval),
        ("KELVIN_SENSOR_IDLE_TIMEOUT", config.sensor_idle_timeout),
        ("KELVIN_HANDSHAKE_TIMEOUT", config.handshake_timeout),
        ("KELVIN_MAX_CONNECTION_AGE", config.max_connection_age),
        ("KELVIN_MAX_STREAM_AGE", config.max_stream_age),
        ("KELVIN_UNAUTHENTICATED_IDLE_TIMEOUT", config.unauthenticated_idle_timeout),
        ("KELVIN_VALKEY_TIMEOUT", config.valkey_timeout),
    ];
    for (variable, duration) in durations {
        if duration.is_zero() {
            error.push(variable, "must be greater than zero");
        }
    }
    if config.sensor_metrics > MAX_SENSOR_METRICS {
        error.push("KELVIN_SENSOR_METRICS", format_args!("must be at most {MAX_SENSOR_METRICS}"));
    }
    if config.keepalive_interval < Duration::from_secs(1) {
        error.push("KELVIN_KEEPALIVE_INTERVAL", "must be at least 1s (TCP keepalive counts in seconds)");
    } else if config.keepalive_interval > MAX_KEEPALIVE {
        error.push("KELVIN_KEEPALIVE_INTERVAL", "must be at most 9h (the maximum of TCP keepalive)");
    }
    for (variable, count) in [
        ("KELVIN_MAX_READINGS_PER_SENSOR", config.max_readings_per_sensor),
        ("KELVIN_MAX_SENSORS", config.max_sensors),
        ("KELVIN_MAX_READINGS", config.max_readings),
        ("KELVIN_MAX_CONNECTIONS", config.max_connections),
    ] {
        if count.get() > MAX_COUNT {
            error.push(variable, "must be at most 1000000000000");
        }
    }
    if config.recent_window.get() > MAX_RECENT_WINDOW {
        error.push("KELVIN_RECENT_WINDOW", format_args!("must be at most {MAX_RECENT_WINDOW}"));
    }
    for (variable, size) in [
        ("KELVIN_MAX_MESSAGE_SIZE", config.max_message_size),
        ("KELVIN_MAX_HEADER_SIZE", config.max_header_size),
    ] {
        if size.0 < 1024 || u32::try_from(size.0).is_err() {
            error.push(variable, "must be from 1KiB to less than 4GiB");
        }
    }
    let memory = config.connection_memory_limit.0;
    if memory < MIN_CONNECTION_MEMORY {
        error.push("KELVIN_CONNECTION_MEMORY_LIMIT", "must be at least 1MiB");
    }
    if config.unauthenticated_memory_limit.0 > memory {
        error.push("KELVIN_UNAUTHENTICATED_MEMORY_LIMIT", "must be at most KELVIN_CONNECTION_MEMORY_LIMIT");
    } else if config.unauthenticated_memory_limit.0 < MIN_CONNECTION_MEMORY {
        error.push("KELVIN_UNAUTHENTICATED_MEMORY_LIMIT", "must be at least 1MiB");
    }
}

fn check_alerts(config: &Config, error: &mut SettingsError) {
    for (variable, limit) in
        [("KELVIN_ALERT_LOW", config.alert_low), ("KELVIN_ALERT_HIGH", config.alert_high)]
    {
        if limit.is_some_and(|limit| !TEMPERATURES.contains(&limit)) {
            let (lowest, highest) = TEMPERATURES.into_inner();
            error.push(
                variable,
                format_args!("must be from {lowest} to {highest}, the temperatures that are accepted"),
            );
        }
    }
    if let (Some(low), Some(high)) = (config.alert_low, config.alert_high)
        && low >= high
    {
        error
            .push("KELVIN_ALERT_LOW", format_args!("{low} must be below KELVIN_ALERT_HIGH, which is {high}"));
    }
    if config.alert_z_score.is_some_and(|z_score| z_score <= 0.0) {
        error.push("KELVIN_ALERT_Z_SCORE", "must be greater than 0, or empty to disable");
    }
}

fn check_valkey(config: &Config, error: &mut SettingsError) {
    if config.store == StoreKind::Valkey && config.valkey_address.is_empty() {
        error.push("KELVIN_VALKEY_ADDRESS", "must be set with KELVIN_STORE=valkey");
    }
    for address in &config.valkey_address {
        if address.contains('@') {
            // What stands before it may be a password.
            error.push(
                "KELVIN_VALKEY_ADDRESS",
                "must be host:port; set the user and its password with KELVIN_VALKEY_USERNAME and KELVIN_VALKEY_PASSWORD_FILE",
            );
        } else if host_and_port(address).is_none() {
            error.push(
                "KELVIN_VALKEY_ADDRESS",
                format_args!("{address:?} is not host:port, such as localhost:6379 or [::1]:6379"),
            );
        }
    }
    if config.valkey_address.len() > 1 && !config.valkey_cluster {
        error.push(
            "KELVIN_VALKEY_ADDRESS",
            "several addresses need KELVIN_VALKEY_CLUSTER=true; without it, set exactly one",
        );
    }
    let pair = [
        ("KELVIN_VALKEY_TLS_CERT", config.valkey_tls_cert.is_some()),
        ("KELVIN_VALKEY_TLS_KEY", config.valkey_tls_key.is_some()),
    ];
    for (variable, is_set) in pair {
        if !is_set && pair.iter().any(|(_, is_set)| *is_set) {
            error.push(variable, "must be set: KELVIN_VALKEY_TLS_CERT and KELVIN_VALKEY_TLS_KEY go together");
        } else if is_set && config.valkey_tls_ca.is_none() {
            error.push(variable, "needs KELVIN_VALKEY_TLS_CA: without it the connection has no TLS");
        }
    }
    if config.valkey_username.is_some() && config.valkey_password_file.is_none() {
        error.push(
            "KELVIN_VALKEY_USERNAME",
            "needs KELVIN_VALKEY_PASSWORD_FILE: the user is sent with its password",
        );
    }
}

/// A setting of the Valkey store beside another store: readings would not be where the setting says.
fn check_valkey_unset(config: &Config, reader: &mut Reader) {
    for (variable, is_set) in [
        ("KELVIN_VALKEY_ADDRESS", !config.valkey_address.is_empty()),
        ("KELVIN_VALKEY_CLUSTER", config.valkey_cluster),
        ("KELVIN_VALKEY_USERNAME", config.valkey_username.is_some()),
        ("KELVIN_VALKEY_PASSWORD_FILE", config.valkey_password_file.is_some()),
        ("KELVIN_VALKEY_TLS_CA", config.valkey_tls_ca.is_some()),
        ("KELVIN_VALKEY_TLS_CERT", config.valkey_tls_cert.is_some()),
        ("KELVIN_VALKEY_TLS_KEY", config.valkey_tls_key.is_some()),
        ("KELVIN_VALKEY_ACKNOWLEDGE", config.valkey_acknowledge != Acknowledge::Primary),
        ("KELVIN_VALKEY_TIMEOUT", reader.is_set("KELVIN_VALKEY_TIMEOUT")),
    ] {
        if is_set {
            reader.error().push(variable, "has no effect with KELVIN_STORE=memory: set KELVIN_STORE=valkey");
        }
    }
}

#[cfg(test)]
mod tests {
    use kelvin_app::Settings as _;

    use super::*;

    #[test]
    fn only_tls_and_tokens_have_no_default() {
        let error = Config::from_pairs([("", ""); 0]).unwrap_err();
        let named: Vec<_> = Config::SETTINGS.iter().map(|s| s.variable).filter(|v| error.names(v)).collect();
        assert_eq!(named, ["KELVIN_TLS_CERT", "KELVIN_TLS_KEY", "KELVIN_TOKEN_FILE"]);
        Config::from_pairs([("KELVIN_PLAINTEXT", "true"), ("KELVIN_TOKEN_FILE", "tokens")]).unwrap();
    }

    /// Reads `pairs` on top of the least that a server needs, and returns the variables at fault.
    fn faults(pairs: &[(&'static str, &'static str)]) -> Vec<&'static str> {
        let least = [("KELVIN_TLS_CERT", "c"), ("KELVIN_TLS_KEY", "k"), ("KELVIN_TOKEN_FILE", "t")];
        match Config::from_pairs(least.into_iter().chain(pairs.iter().copied())) {
            Ok(_) => Vec::new(),
            Err(error) => Config::SETTINGS.iter().map(|s| s.variable).filter(|v| error.names(v)).collect(),
        }
    }

    #[test]
    fn setting_that_needs_another_is_rejected_alone() {
        for (variable, value) in [
            ("KELVIN_TLS_CLIENT_CA", "ca.pem"),
            ("KELVIN_VALKEY_ADDRESS", "localhost:6379"),
            ("KELVIN_VALKEY_CLUSTER", "true"),
            ("KELVIN_VALKEY_USERNAME", "kelvin"),
            ("KELVIN_VALKEY_PASSWORD_FILE", "password"),
            ("KELVIN_VALKEY_TLS_CA", "ca.pem"),
            ("KELVIN_VALKEY_ACKNOWLEDGE", "fsync"),
            ("KELVIN_VALKEY_TIMEOUT", "1s"),
        ] {
            assert_eq!(faults(&[(variable, value)]), [variable]);
        }
        let external = ["KELVIN_TLS_EXTERNAL_CERT", "KELVIN_TLS_EXTERNAL_KEY"];
        assert_eq!(faults(&[(external[0], "cert.pem")]), [external[1]]);
        assert_eq!(faults(&[(external[1], "key.pem")]), [external[0]]);
        assert!(faults(&[(external[0], "cert.pem"), (external[1], "key.pem")]).is_empty());
    }

    #[test]
    fn valkey_settings_are_validated_against_each_other() {
        let with = |pairs: &[(&'static str, &'static str)]| {
            let store = [("KELVIN_STORE", "valkey"), ("KELVIN_VALKEY_ADDRESS", "localhost:6379")];
            faults(&[&store[..], pairs].concat())
        };
        assert!(with(&[]).is_empty());
        let [cert, key] = ["KELVIN_VALKEY_TLS_CERT", "KELVIN_VALKEY_TLS_KEY"];
        assert_eq!(with(&[(cert, "c"), (key, "k")]), [cert, key], "plain TCP although TLS files are set");
        assert!(with(&[(cert, "c"), (key, "k"), ("KELVIN_VALKEY_TLS_CA", "ca")]).is_empty());
        assert_eq!(with(&[("KELVIN_VALKEY_USERNAME", "kelvin")]), ["KELVIN_VALKEY_USERNAME"]);
        let cluster = ("KELVIN_VALKEY_CLUSTER", "true");
        assert!(with(&[("KELVIN_VALKEY_ADDRESS", "a:1,[::1]:2"), cluster]).is_empty());
        for address in
            ["localhost", "a:1,b:2", "redis://a:1", "user:s3cret@a:1", "a:1,", "u:s3cret@a:1,", "a b:1"]
        {
            assert_eq!(with(&[("KELVIN_VALKEY_ADDRESS", address)]), ["KELVIN_VALKEY_ADDRESS"], "{address}");
            let pairs = [("KELVIN_STORE", "valkey"), ("KELVIN_VALKEY_ADDRESS", address)];
            let error = Config::from_pairs(pairs).unwrap_err().to_string();
            assert!(!error.contains("s3cret"), "{error}");
        }
    }

    #[test]
    fn name_in_another_case_does_not_switch_tls_off() {
        let pairs = [("KELVIN_TLS_CERT", ""), ("KELVIN_TLS_KEY", ""), ("KELVIN_plaintext", "true")];
        assert_eq!(faults(&pairs), ["KELVIN_TLS_CERT", "KELVIN_TLS_KEY"]);
    }

    #[test]
    fn setting_without_effect_is_warned_of() {
        let warned = |pairs: &[(&str, &str)]| {
            let least = [("KELVIN_PLAINTEXT", "true"), ("KELVIN_TOKEN_FILE", "tokens")];
            let (_, warnings) = Config::read(least.iter().chain(pairs).copied()).unwrap();
            warnings.into_iter().map(|warning| warning.variable).collect::<Vec<_>>()
        };
        let memory = ("KELVIN_STORE_MEMORY_LIMIT", "1GiB");
        assert!(warned(&[]).is_empty() && warned(&[memory]).is_empty());
        let valkey = [("KELVIN_STORE", "valkey"), ("KELVIN_VALKEY_ADDRESS", "localhost:6379")];
        assert!(warned(&valkey).is_empty());
        assert_eq!(warned(&[&valkey[..], &[memory]].concat()), ["KELVIN_STORE_MEMORY_LIMIT"]);
    }

    #[test]
    fn values_out_of_range_are_rejected() {
        for (variable, value) in [
            ("KELVIN_MAX_READINGS", "18446744073709551615"),
            ("KELVIN_KEEPALIVE_INTERVAL", "10h"),
            ("KELVIN_MAX_STREAM_AGE", "18446744073709551615s"),
            ("KELVIN_HEALTH_LISTEN", "127.0.0.1:50051"),
            ("KELVIN_RECENT_WINDOW", "10001"),
            ("KELVIN_ALERT_LOW", "-273.16"),
            ("KELVIN_ALERT_HIGH", "1000001"),
        ] {
            assert_eq!(faults(&[(variable, value)]), [variable]);
        }
    }

    #[test]
    fn former_names_still_work() {
        let pairs = [
            ("KELVIN_PLAINTEXT", "true"),
            ("KELVIN_TOKEN_FILE", "tokens"),
            ("KELVIN_SENSOR_IDLE", "7h"),
            ("KELVIN_MAX_FUTURE", "8h"),
            ("KELVIN_DRAIN_WAIT", "9s"),
        ];
        let config = Config::from_pairs(pairs).unwrap();
        assert_eq!(config.sensor_idle_timeout, Duration::from_hours(7));
        assert_eq!(config.max_clock_skew, Duration::from_hours(8));
        assert_eq!(config.drain_delay, Duration::from_secs(9));
    }

    #[test]
    fn every_wrong_variable_is_named_at_once() {
        let error = Config::from_pairs([
            ("KELVIN_LISTEN", "everywhere"),
            ("KELVIN_PLAINTEXT", "true"),
            ("KELVIN_TLS_CERT", "cert.pem"),
            ("KELVIN_MTLS", "required"),
            ("KELVIN_WORKERS", "-1"),
            ("KELVIN_MAX_SENSORS", "0"),
            ("KELVIN_MAX_STREAM_AGE", "0s"),
            ("KELVIN_MAX_MESSAGE_SIZE", "1B"),
            ("KELVIN_SENSOR_METRICS", "1901"),
            ("KELVIN_ALERT_LOW", "30"),
            ("KELVIN_ALERT_HIGH", "20"),
            ("KELVIN_ALERT_Z_SCORE", "-1"),
            ("KELVIN_STORE", "valkey"),
            ("KELVIN_VALKEY_TLS_KEY", "key.pem"),
        ])
        .unwrap_err();
        let named: Vec<_> = Config::SETTINGS.iter().map(|s| s.variable).filter(|v| error.names(v)).collect();
        assert_eq!(
            named,
            [
                "KELVIN_LISTEN",
                "KELVIN_WORKERS",
                "KELVIN_TLS_CERT",
                "KELVIN_MTLS",
                "KELVIN_MAX_SENSORS",
                "KELVIN_ALERT_LOW",
                "KELVIN_ALERT_Z_SCORE",
                "KELVIN_SENSOR_METRICS",
                "KELVIN_MAX_MESSAGE_SIZE",
                "KELVIN_MAX_STREAM_AGE",
                "KELVIN_VALKEY_ADDRESS",
                "KELVIN_VALKEY_TLS_CERT",
                "KELVIN_VALKEY_TLS_KEY",
            ]
        );
    }
}
