//! A program's own settings, read together with the `OTEL_*` variables.

use kelvin_app::{Setting, Settings, SettingsError, settings::Warning};

use crate::environment::Environment;

/// The settings of a program with telemetry. If they are invalid, the error also lists the invalid `OTEL_*` variables,
/// which [`Builder::build`](crate::Builder::build) would only report once the settings are corrected.
///
/// With valid settings, an invalid `OTEL_*` variable is no error here: commands such as `healthcheck` export nothing.
#[derive(Debug, Clone)]
pub struct WithTelemetry<S>(pub S);

impl<S: Settings> Settings for WithTelemetry<S> {
    const SETTINGS: &'static [Setting] = S::SETTINGS;

    const RENAMED: &'static [(&'static str, &'static str)] = S::RENAMED;

    fn read<K: Into<String>, V: Into<String>>(
        pairs: impl IntoIterator<Item = (K, V)>,
    ) -> Result<(Self, Vec<Warning>), SettingsError> {
        S::read(pairs).map(|(settings, warnings)| (Self(settings), warnings))
    }

    fn from_env() -> Result<Self, SettingsError> {
        S::from_env().map(Self).map_err(|mut error| {
            error.append(Environment::from_process().errors());
            error
        })
    }
}
