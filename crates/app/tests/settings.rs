//! What `settings!` makes.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, time::Duration};

use kelvin_app::{
    Bytes, Parse, Setting, Settings as _, SettingsError,
    settings::{Reader, Warning},
};
use proptest::prelude::*;

kelvin_app::keyword_enum! {
    /// How much.
    pub enum Amount {
        /// None of it.
        None = "none",
        /// All of it.
        All = "all",
    }
}

kelvin_app::settings! {
    /// One setting of each kind.
    pub struct Config {
        /// Where it listens.
        pub listen: SocketAddr = "0.0.0.0:50051",
        /// How long a sensor may be silent,
        /// in two lines | with a bar.
        pub idle: Duration = "24h",
        /// A certificate.
        pub tls_cert: Option<PathBuf> = "",
        /// The largest message.
        pub max_message: Bytes = "4MiB",
        /// Names.
        pub names: Vec<String> = "a,b",
        /// How much.
        pub amount: Amount = "none",
        /// Low.
        pub low: f64 = "-20",
        /// High.
        pub high: f64 = "60",
        /// Whether.
        pub plain: bool = "false",
        /// To whom.
        pub server: http::Uri = "https://localhost:50051",
    }
    check = check;
    renamed = { "KELVIN_FLOOR" => "KELVIN_LOW" };
}

fn check(config: &Config, reader: &mut Reader) {
    if config.low >= config.high {
        reader.error().push("KELVIN_LOW", "must be below KELVIN_HIGH");
    }
    if config.plain && reader.is_set("KELVIN_TLS_CERT") {
        reader.warn("KELVIN_TLS_CERT", "has no effect with KELVIN_PLAIN=true");
    }
}

fn error(pairs: &[(&str, &str)]) -> String {
    Config::from_pairs(pairs.iter().copied()).unwrap_err().to_string()
}

#[test]
fn defaults_stand_where_nothing_is_set() {
    let config = Config::from_pairs::<&str, &str>([]).unwrap();
    assert_eq!(config.listen, "0.0.0.0:50051".parse().unwrap());
    assert_eq!(config.idle, Duration::from_hours(24));
    assert_eq!(config.tls_cert, None);
    assert_eq!(config.max_message, Bytes(4 * 1024 * 1024));
    assert_eq!(config.names, ["a", "b"]);
    assert_eq!(config.amount, Amount::None);
    assert_eq!(config.server.port_u16(), Some(50051));
}

#[test]
fn values_are_read_and_trimmed() {
    let config = Config::from_pairs([
        ("KELVIN_TLS_CERT", "/certs/tls.crt"),
        ("KELVIN_NAMES", "x, y ,z"),
        ("KELVIN_AMOUNT", " all\n"),
        ("KELVIN_LOW", "-1.5"),
        ("KELVIN_PLAIN", "true"),
        ("OTHER", "left alone"),
    ])
    .unwrap();
    assert_eq!(config.tls_cert, Some("/certs/tls.crt".into()));
    assert_eq!(config.names, ["x", "y", "z"]);
    assert_eq!(config.amount, Amount::All);
    assert!((config.low - -1.5).abs() < f64::EPSILON);
    assert!(config.plain);
}

#[test]
fn empty_is_none_or_an_empty_list() {
    let config = Config::from_pairs([("KELVIN_TLS_CERT", ""), ("KELVIN_NAMES", "")]).unwrap();
    assert_eq!((config.tls_cert, config.names), (None, vec![]));
}

#[test]
fn all_problems_are_listed_in_order_of_the_settings() {
    let text = error(&[
        ("KELVIN_SERVER", "localhost"),
        ("KELVIN_AMOUNT", "some"),
        ("KELVIN_LISTEN", "50051"),
        ("KELVIN_LOW", "70"),
        ("KELVIN_HIGH", "NaN"),
    ]);
    assert_eq!(
        text,
        r#"invalid configuration (see --help)
  KELVIN_LISTEN: invalid value "50051": expected an IP address and a port such as 0.0.0.0:50051 or [::]:50051
  KELVIN_AMOUNT: invalid value "some": expected `none` or `all`
  KELVIN_HIGH: invalid value "NaN": expected a number such as 21.5
  KELVIN_SERVER: invalid value "localhost": expected a URL such as https://kelvin.example:50051
  KELVIN_LOW: must be below KELVIN_HIGH"#
    );
}

#[test]
fn former_name_works_alone_and_not_beside_its_successor() {
    let config = Config::from_pairs([("KELVIN_FLOOR", "-7")]).unwrap();
    assert!((config.low - -7.0).abs() < f64::EPSILON);
    assert_eq!(
        error(&[("KELVIN_FLOOR", "-7"), ("KELVIN_LOW", "-7")]),
        "invalid configuration (see --help)\n  \
         KELVIN_FLOOR: is the former name of KELVIN_LOW, which is set too: remove KELVIN_FLOOR"
    );
}

/// The variables that a warning names.
fn warned(pairs: &[(&str, &str)]) -> Vec<String> {
    let (_, warnings) = Config::read(pairs.iter().copied()).unwrap();
    warnings.into_iter().map(|Warning { variable, .. }| variable).collect()
}

#[test]
fn name_in_another_case_is_unknown_and_ignored() {
    for name in ["KELVIN_plain", "KELVIN_Plain", "KELVIN_floor"] {
        let (config, warnings) = Config::read([(name, "true")]).unwrap();
        assert!(!config.plain, "{name}");
        let expected = Warning {
            variable: name.to_owned(),
            message: "unknown setting, ignored; --help lists all settings".to_owned(),
        };
        assert_eq!(warnings, [expected]);
    }
    assert!(warned(&[("kelvin_plain", "true"), ("OTHER", "x")]).is_empty(), "they have another prefix");
}

#[test]
fn former_name_and_setting_without_effect_are_warned_of() {
    assert_eq!(warned(&[("KELVIN_FLOOR", "-7")]), ["KELVIN_FLOOR"]);
    let both = [("KELVIN_PLAIN", "true"), ("KELVIN_TLS_CERT", "cert.pem")];
    assert_eq!(warned(&both), ["KELVIN_TLS_CERT"]);
    assert!(warned(&both[..1]).is_empty() && warned(&both[1..]).is_empty());
    assert!(warned(&[both[0], ("KELVIN_TLS_CERT", " ")]).is_empty(), "empty means not set");
}

#[test]
fn value_with_an_at_sign_is_not_repeated() {
    let text = error(&[("KELVIN_SERVER", "https://user:s3cret@host name"), ("KELVIN_LISTEN", "a:b@c")]);
    assert!(text.contains("KELVIN_SERVER: invalid value: expected a URL"), "{text}");
    assert!(!text.contains("s3cret") && !text.contains("a:b"), "{text}");
}

#[test]
fn duration_above_the_limit_is_rejected() {
    assert!(error(&[("KELVIN_IDLE", "36501d")]).contains("at most 36500d"));
    assert!(error(&[("KELVIN_IDLE", "18446744073709551615s")]).contains("at most 36500d"));
    assert!(Config::from_pairs([("KELVIN_IDLE", "36500d")]).is_ok());
}

#[test]
fn each_variable_is_reported_once() {
    let mut error = SettingsError::default();
    assert!(error.is_empty());
    error.push("KELVIN_LOW", "first");
    error.push("KELVIN_LOW", "second");
    assert!(error.names("KELVIN_LOW") && !error.names("KELVIN_HIGH"));
    assert_eq!(error.to_string(), "invalid configuration (see --help)\n  KELVIN_LOW: first");
}

#[test]
fn table_is_generated_from_declaration() {
    let idle = Config::SETTINGS[1];
    assert_eq!((idle.variable, idle.default), ("KELVIN_IDLE", "24h"));
    let table = Config::markdown();
    let line = r"| `KELVIN_IDLE` | `24h` | How long a sensor may be silent, in two lines \| with a bar. |";
    assert!(table.lines().any(|row| row == line), "{table}");
    assert!(table.contains("| `KELVIN_TLS_CERT` |  | A certificate. |"), "{table}");
    assert!(Config::help().contains("  KELVIN_TLS_CERT=\n        A certificate.\n"));
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused_by_name(values in prop::collection::vec(".{0,12}", Config::SETTINGS.len())) {
        let names = Config::SETTINGS.iter().map(|Setting { variable, .. }| *variable);
        let pairs: BTreeMap<_, _> = names.zip(values).collect();
        if let Err(error) = Config::from_pairs(pairs.clone()) {
            let text = error.to_string();
            prop_assert!(text.lines().count() >= 2);
            // Whatever a value holds, each complaint stays on the line of its variable.
            for line in text.lines().skip(1) {
                let (name, _) = line.trim_start().split_once(':').unwrap();
                prop_assert!(pairs.contains_key(name), "{line}");
            }
        }
    }

    #[test]
    fn sizes_read_as_they_are_written(bytes in any::<usize>(), mebibytes in 0..1usize << 40) {
        prop_assert_eq!(Bytes::parse(&Bytes(bytes).to_string()), Some(Bytes(bytes)));
        prop_assert_eq!(Bytes::parse(&format!("{mebibytes} MiB")), Some(Bytes(mebibytes << 20)));
        prop_assert_eq!(Bytes::parse(&format!("{}GiB", usize::MAX - mebibytes)), None);
    }

    #[test]
    fn durations_read_as_they_are_written(millis in 0..1u64 << 40) {
        let duration = Duration::from_millis(millis);
        prop_assert_eq!(Duration::parse(&format!("{millis}ms")), Some(duration));
        prop_assert_eq!(Duration::parse(&format!("{millis} parsecs")), None);
    }
}
