//! The declarations: `settings!` for a struct, `keyword_enum!` for an enum.

/// Declares a struct of settings, each read from the `KELVIN_` variable of the field's name.
///
/// The doc comment of a field is its help text. The default is text in the same form as the variable's
/// value and must be readable (`from_pairs` panics otherwise, so a test that reads no pairs finds it).
/// `check` names a function that looks at the whole and notes what does not go together, as an error or as a warning.
/// `renamed` lists former names: each still works, with one warning, but not beside its successor.
///
/// ```
/// use std::{net::SocketAddr, path::PathBuf, time::Duration};
/// use kelvin_app::settings::Reader;
///
/// kelvin_app::settings! {
///     /// The settings of this program.
///     pub struct Config {
///         /// Address on which gRPC is served.
///         pub listen: SocketAddr = "0.0.0.0:50051",
///         /// How long a sensor may be idle before it expires.
///         pub idle_timeout: Duration = "24h",
///         /// The certificate chain, PEM.
///         pub tls_cert: Option<PathBuf> = "",
///     }
///     check = check;
///     renamed = { "KELVIN_IDLE" => "KELVIN_IDLE_TIMEOUT" };
/// }
///
/// fn check(config: &Config, reader: &mut Reader) {
///     if config.idle_timeout.is_zero() {
///         reader.error().push("KELVIN_IDLE_TIMEOUT", "must be greater than zero");
///     }
/// }
///
/// let config = Config::from_pairs([("KELVIN_IDLE", "5m")]).unwrap();
/// assert_eq!(config.idle_timeout, Duration::from_secs(300));
/// ```
#[macro_export]
macro_rules! settings {
    (@variable $field:ident) => {{
        const NAME: &str = concat!("KELVIN_", stringify!($field));
        const UPPER: [u8; NAME.len()] = $crate::settings::upper(NAME);
        match ::core::str::from_utf8(&UPPER) {
            Ok(name) => name,
            Err(_) => panic!("names of fields are ASCII"),
        }
    }};
    (
        $(#[$meta:meta])*
        $vis:vis struct $name:ident {
            $( $(#[doc = $doc:literal])+ $field_vis:vis $field:ident : $ty:ty = $default:literal ),* $(,)?
        }
        $( check = $check:path; )?
        $( renamed = { $( $old:literal => $new:literal ),* $(,)? }; )?
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone)]
        $vis struct $name {
            $( $(#[doc = $doc])+ $field_vis $field: $ty, )*
        }

        impl $crate::Settings for $name {
            const SETTINGS: &'static [$crate::Setting] = &[$( $crate::Setting {
                variable: $crate::settings!(@variable $field),
                default: $default,
                doc: concat!($($doc),+),
            } ),*];

            const RENAMED: &'static [(&'static str, &'static str)] = &[$( $( ($old, $new) ),* )?];

            fn read<K: Into<String>, V: Into<String>>(
                pairs: impl IntoIterator<Item = (K, V)>,
            ) -> Result<(Self, Vec<$crate::settings::Warning>), $crate::SettingsError> {
                #[derive(Default, $crate::serde::Deserialize)]
                #[serde(crate = "kelvin_app::serde", default)]
                struct Fields { $( $field: $crate::settings::Field<$ty>, )* }

                let mut reader = $crate::settings::Reader::new(Self::SETTINGS, <Self as $crate::Settings>::RENAMED, pairs);
                let fields: Fields = reader.fields();
                let settings = Self {
                    $( $field: reader.value($crate::settings!(@variable $field), $default, fields.$field), )*
                };
                $( $check(&settings, &mut reader); )?
                reader.finish(settings)
            }
        }

        #[allow(dead_code, reason = "not every program needs every one of them")]
        impl $name {
            /// All variables, in the order of the fields.
            pub const SETTINGS: &'static [$crate::Setting] = <Self as $crate::Settings>::SETTINGS;

            /// Reads the settings from the environment of this process.
            pub fn from_env() -> Result<Self, $crate::SettingsError> {
                <Self as $crate::Settings>::from_env()
            }

            /// Reads the settings from pairs of whole variable names and values.
            pub fn from_pairs<K: Into<String>, V: Into<String>>(
                pairs: impl IntoIterator<Item = (K, V)>,
            ) -> Result<Self, $crate::SettingsError> {
                <Self as $crate::Settings>::from_pairs(pairs)
            }

            /// Returns the list of variables for `--help`.
            #[must_use]
            pub fn help() -> String {
                $crate::settings::help(Self::SETTINGS)
            }

            /// Returns the table of variables for docs/configuration.md.
            #[must_use]
            pub fn markdown() -> String {
                $crate::settings::markdown(Self::SETTINGS)
            }

            /// Logs a warning for each `KELVIN_` variable in the environment that is none of these, has been renamed, or
            /// has no effect.
            pub fn log_warnings() {
                $crate::settings::log_warnings::<Self>();
            }
        }
    };
}

/// Declares an enum of keywords for a setting: the variants, their text and how to parse them.
///
/// ```
/// kelvin_app::keyword_enum! {
///     /// Where readings are kept.
///     pub enum Store {
///         /// In this process.
///         Memory = "memory",
///         /// In Valkey.
///         Valkey = "valkey",
///     }
/// }
/// assert_eq!(kelvin_app::Parse::parse("valkey"), Some(Store::Valkey));
/// assert_eq!(Store::Valkey.to_string(), "valkey");
/// ```
#[macro_export]
macro_rules! keyword_enum {
    (
        $(#[$meta:meta])*
        $vis:vis enum $name:ident { $( $(#[$variant_meta:meta])* $variant:ident = $word:literal ),* $(,)? }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        $vis enum $name { $( $(#[$variant_meta])* $variant, )* }

        impl $crate::Parse for $name {
            fn expected() -> String {
                [$(concat!("`", $word, "`")),*].join(" or ")
            }

            fn parse(text: &str) -> Option<Self> {
                match text { $( $word => Some(Self::$variant), )* _ => None }
            }
        }

        impl ::core::fmt::Display for $name {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                f.write_str(match self { $( Self::$variant => $word, )* })
            }
        }
    };
}
