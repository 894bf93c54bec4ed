//! Files whose content is looked at again and again; the last good content stays in use.

use std::{fs, path::PathBuf, sync::Arc};

use crate::TlsError;

/// What files hold, and its end in Unix seconds where it has one.
pub(crate) struct Loaded<T> {
    pub(crate) value: T,
    pub(crate) expires: Option<i64>,
}

/// Files that belong together and what they hold.
pub(crate) struct Watched<T> {
    /// What they are for, as an attribute of metrics.
    file: &'static str,
    paths: Vec<PathBuf>,
    parse: Parse<T>,
    /// The content looked at last; nothing where the files could not be read.
    seen: Option<Vec<Vec<u8>>>,
    /// Whether `seen` is what is in use.
    in_use: bool,
    value: Arc<T>,
    expires: Option<i64>,
}

type Parse<T> = fn(&[PathBuf], &[Vec<u8>]) -> Result<Loaded<T>, TlsError>;

/// A change that was taken over or refused.
pub(crate) struct Event {
    pub(crate) file: &'static str,
    pub(crate) result: Result<(), TlsError>,
}

/// When what is in use ends, in Unix seconds.
pub(crate) struct Expiry {
    pub(crate) file: &'static str,
    pub(crate) at: i64,
}

impl<T> Watched<T> {
    pub(crate) fn load(file: &'static str, paths: Vec<PathBuf>, parse: Parse<T>) -> Result<Self, TlsError> {
        let contents = read(&paths)?;
        let Loaded { value, expires } = parse(&paths, &contents)?;
        Ok(Self { file, paths, parse, seen: Some(contents), in_use: true, value: Arc::new(value), expires })
    }

    pub(crate) fn value(&self) -> Arc<T> {
        Arc::clone(&self.value)
    }

    pub(crate) fn file(&self) -> &'static str {
        self.file
    }

    pub(crate) fn expiry(&self) -> Option<Expiry> {
        Some(Expiry { file: self.file, at: self.expires? })
    }

    /// Looks at the files again. What was refused is tried again each time, since a certificate may
    /// become valid later, but told once.
    pub(crate) fn reload(&mut self) -> Option<Event> {
        let contents = read(&self.paths);
        if contents.as_ref().ok() != read(&self.paths).as_ref().ok() {
            // In the middle of a change.
            return None;
        }
        let new = contents.as_ref().ok() != self.seen.as_ref();
        if !new && self.in_use {
            return None;
        }
        self.seen = contents.as_ref().ok().cloned();
        let loaded = contents.and_then(|contents| (self.parse)(&self.paths, &contents));
        self.in_use = loaded.is_ok();
        let result = loaded.map(|Loaded { value, expires }| {
            self.value = Arc::new(value);
            self.expires = expires;
        });
        (new || result.is_ok()).then_some(Event { file: self.file, result })
    }
}

fn read(paths: &[PathBuf]) -> Result<Vec<Vec<u8>>, TlsError> {
    paths
        .iter()
        .map(|path| fs::read(path).map_err(|error| TlsError::file(path, format!("cannot be read: {error}"))))
        .collect()
}
