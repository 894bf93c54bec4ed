//! What `settings!` expands to: envy reads the variables into a struct whose fields are each a value or an error, so that
//! all errors are reported at once.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Deserializer, de::DeserializeOwned};

use super::{PREFIX, Parse, Setting, SettingsError, Warning};

/// What is read of one variable: nothing, its value, or the text that is no value of it. An error of serde's would end
/// the reading at the first one.
#[derive(Debug)]
pub struct Field<T>(Option<Result<T, String>>);

impl<T> Default for Field<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<'de, T: Parse> Deserialize<'de> for Field<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Ok(Self(Some(T::parse(text.trim()).ok_or(text))))
    }
}

/// Reads the settings of a program and notes what is wrong with them; what [`settings!`](crate::settings!) expands to.
#[derive(Debug)]
pub struct Reader {
    /// By the whole, current name of the variable.
    values: BTreeMap<String, String>,
    unknown: Vec<String>,
    warnings: Vec<Warning>,
    error: SettingsError,
}

impl Reader {
    /// Takes the pairs of settings, as text, by their current names, and notes other names that start with `KELVIN_`.
    pub fn new<K: Into<String>, V: Into<String>>(
        settings: &'static [Setting],
        renamed: &[(&'static str, &'static str)],
        pairs: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        let is_known = |name: &String| {
            settings.iter().any(|setting| setting.variable == name)
                || renamed.iter().any(|(old, _)| old == name)
        };
        // envy ignores the case of names: `KELVIN_plaintext`, which is no setting, would switch TLS off.
        let (mut values, others): (BTreeMap<String, String>, BTreeMap<String, String>) = pairs
            .into_iter()
            .map(|(name, value)| (name.into(), value.into()))
            .partition(|(name, _)| is_known(name));
        let unknown = others.into_keys().filter(|name| name.starts_with(PREFIX)).collect();
        let (mut error, mut warnings) = (SettingsError::default(), Vec::new());
        for (old, new) in renamed {
            let Some(value) = values.remove(*old) else { continue };
            warnings.push(Warning::new(old, format_args!("setting renamed; use {new}")));
            if values.insert((*new).to_owned(), value).is_some() {
                error.push(old, format_args!("is the former name of {new}, which is set too: remove {old}"));
            }
        }
        Self { values, unknown, warnings, error }
    }

    /// Reads a struct with a [`Field`] for each setting.
    ///
    /// # Panics
    ///
    /// Panics if a field of the struct is none that reads any text, or has no default.
    #[must_use]
    pub fn fields<F: DeserializeOwned>(&self) -> F {
        envy::prefixed(PREFIX).from_iter(self.values.clone()).expect("a Field reads any text")
    }

    /// Returns the value of a setting. An invalid one is noted and the default used.
    ///
    /// # Panics
    ///
    /// Panics if the default is unreadable.
    pub fn value<T: Parse>(&mut self, variable: &str, default: &str, field: Field<T>) -> T {
        match field.0 {
            Some(Ok(value)) => {
                if let Some(path) = value.file() {
                    self.error.note_file(variable, path);
                }
                return value;
            }
            Some(Err(text)) => self.error.push_value(variable, &text, &T::expected()),
            None => {}
        }
        T::parse(default).unwrap_or_else(|| panic!("the default of {variable} is unreadable"))
    }

    /// Returns the error to which checks of several settings add what they find.
    pub fn error(&mut self) -> &mut SettingsError {
        &mut self.error
    }

    /// Notes that `variable`, though its value is valid, has no effect or not the one it seems to have, and why.
    pub fn warn(&mut self, variable: &str, message: impl fmt::Display) {
        self.warnings.push(Warning::new(variable, message));
    }

    /// Returns whether `variable`, by this name or its former one, has a value, be it the default.
    #[must_use]
    pub fn is_set(&self, variable: &str) -> bool {
        self.values.get(variable).is_some_and(|value| !value.trim().is_empty())
    }

    /// Returns the settings with the warnings, if nothing was wrong.
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

/// Returns the upper-case form of an ASCII name, for names built at compile time.
#[must_use]
pub const fn upper<const N: usize>(name: &str) -> [u8; N] {
    let mut upper = [0; N];
    upper.copy_from_slice(name.as_bytes());
    upper.make_ascii_uppercase();
    upper
}
