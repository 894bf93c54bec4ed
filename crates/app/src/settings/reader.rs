//! What `settings!` expands to: one value after another, with every error collected.

use std::collections::BTreeMap;

use super::{PREFIX, Parse, Setting, SettingsError};

/// Reads one setting after another; what [`settings!`](crate::settings!) expands to.
#[derive(Debug)]
pub struct Reader {
    values: BTreeMap<String, String>,
    settings: std::slice::Iter<'static, Setting>,
    error: SettingsError,
}

impl Reader {
    /// Takes the pairs whose names start with `KELVIN_`, as text, so that every value can be judged.
    pub fn new<K: Into<String>, V: Into<String>>(
        settings: &'static [Setting],
        renamed: &[(&'static str, &'static str)],
        pairs: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        let pairs = pairs.into_iter().map(|(name, value)| (name.into(), value.into()));
        // envy deserializes a struct and stops at the first wrong value. Here all of them are reported, and a setting
        // has its own text form, so that envy only selects the variables and strips the prefix.
        let mut values: BTreeMap<String, String> =
            envy::prefixed(PREFIX).from_iter(pairs).expect("text is read as text");
        let mut error = SettingsError::default();
        for (old, new) in renamed {
            let Some(value) = values.remove(&field(old)) else { continue };
            if values.insert(field(new), value).is_some() {
                error.push(old, format_args!("is the former name of {new}, which is set too: remove {old}"));
            }
        }
        Self { values, settings: settings.iter(), error }
    }

    /// Returns the value of the next setting. An invalid one is noted and the default used, so that all errors are
    /// reported at once.
    pub fn read<T: Parse>(&mut self) -> T {
        let setting = self.settings.next().expect("one field for each setting");
        if let Some(text) = self.values.get(&field(setting.variable)) {
            match T::parse(text.trim()) {
                Some(value) => return value,
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

    /// The settings, if nothing was wrong with them.
    pub fn finish<T>(self, settings: T) -> Result<T, SettingsError> {
        if self.error.is_empty() { Ok(settings) } else { Err(self.error) }
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
