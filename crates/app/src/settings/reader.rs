//! What `settings!` expands to: one value after another, with every error collected.

use std::{collections::BTreeMap, fmt};

use super::{PREFIX, Parse, Setting, SettingsError, Warning};

/// Reads one setting after another; what [`settings!`](crate::settings!) expands to.
#[derive(Debug)]
pub struct Reader {
    values: BTreeMap<String, String>,
    settings: std::slice::Iter<'static, Setting>,
    unknown: Vec<String>,
    warnings: Vec<Warning>,
    error: SettingsError,
}

impl Reader {
    /// Takes the pairs of settings, as text, so that every value can be judged, and notes other names that start with
    /// `KELVIN_`.
    pub fn new<K: Into<String>, V: Into<String>>(
        settings: &'static [Setting],
        renamed: &[(&'static str, &'static str)],
        pairs: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        let is_known = |name: &String| {
            settings.iter().any(|setting| setting.variable == name)
                || renamed.iter().any(|(old, _)| old == name)
        };
        let mut unknown = Vec::new();
        // envy ignores the case of names: `KELVIN_plaintext`, which is no setting, would switch TLS off.
        let pairs = pairs.into_iter().map(|(name, value)| (name.into(), value.into())).filter(|(name, _)| {
            let is_known = is_known(name);
            if !is_known && name.starts_with(PREFIX) {
                unknown.push(name.clone());
            }
            is_known
        });
        // envy deserializes a struct and stops at the first wrong value. Here all of them are reported, and a setting
        // has its own text form, so that envy only selects the variables and strips the prefix.
        let mut values: BTreeMap<String, String> =
            envy::prefixed(PREFIX).from_iter(pairs).expect("text is read as text");
        let (mut error, mut warnings) = (SettingsError::default(), Vec::new());
        for (old, new) in renamed {
            let Some(value) = values.remove(&field(old)) else { continue };
            warnings.push(Warning::new(old, format_args!("setting renamed; use {new}")));
            if values.insert(field(new), value).is_some() {
                error.push(old, format_args!("is the former name of {new}, which is set too: remove {old}"));
            }
        }
        Self { values, settings: settings.iter(), unknown, warnings, error }
    }

    /// Returns the value of the next setting. An invalid one is noted and the default used, so that all errors are
    /// reported at once.
    pub fn read<T: Parse>(&mut self) -> T {
        let setting = self.settings.next().expect("one field for each setting");
        if let Some(text) = self.values.get(&field(setting.variable)) {
            match T::parse(text.trim()) {
                Some(value) => {
                    if let Some(path) = value.file() {
                        self.error.note_file(setting.variable, path);
                    }
                    return value;
                }
                None => self.error.push_value(setting.variable, text, &T::expected()),
            }
        }
        T::parse(setting.default)
            .unwrap_or_else(|| panic!("the default of {} is unreadable", setting.variable))
    }

    /// Where checks of the whole push what they find.
    pub fn error(&mut self) -> &mut SettingsError {
        &mut self.error
    }

    /// Notes that `variable`, though its value is valid, has no effect or not the one it seems to have, and why.
    pub fn warn(&mut self, variable: &str, message: impl fmt::Display) {
        self.warnings.push(Warning::new(variable, message));
    }

    /// Whether `variable`, by this name or its former one, has a value, be it the default.
    #[must_use]
    pub fn is_set(&self, variable: &str) -> bool {
        self.values.get(&field(variable)).is_some_and(|value| !value.trim().is_empty())
    }

    /// The settings with the warnings, if nothing was wrong.
    pub fn finish<T>(mut self, settings: T) -> Result<(T, Vec<Warning>), SettingsError> {
        if !self.error.is_empty() {
            // One of them may be the name, mistyped, of what is missing.
            self.unknown.iter().for_each(|variable| self.error.push(variable, "unknown setting, ignored"));
            return Err(self.error);
        }
        for variable in std::mem::take(&mut self.unknown) {
            self.warn(&variable, "unknown setting, ignored; --help lists all settings");
        }
        Ok((settings, self.warnings))
    }
}

/// The name of a variable's field, as envy gives it.
fn field(variable: &str) -> String {
    variable[PREFIX.len()..].to_ascii_lowercase()
}

/// The upper-case form of an ASCII name, for names built at compile time.
#[must_use]
pub const fn upper<const N: usize>(name: &str) -> [u8; N] {
    let mut upper = [0; N];
    upper.copy_from_slice(name.as_bytes());
    upper.make_ascii_uppercase();
    upper
}
