//! Files that are read again and again; the last good content stays in use.

use std::{fs, path::PathBuf, sync::Arc};

use crate::{Role, TlsError};

/// A file as it was read.
pub(crate) struct File {
    pub(crate) role: Role,
    pub(crate) path: PathBuf,
    pub(crate) content: Vec<u8>,
}

impl File {
    pub(crate) fn error(&self, problem: impl Into<String>) -> TlsError {
        TlsError::File { role: self.role, path: self.path.clone(), problem: problem.into() }
    }
}

/// What files contain, and when it expires in Unix seconds, where it does.
pub(crate) struct Loaded<T> {
    pub(crate) value: T,
    pub(crate) expires: Option<i64>,
}

/// Files that belong together, such as a certificate and its key, and what they contain.
pub(crate) struct ReloadableFile<T> {
    /// What they are for, as an attribute of metrics.
    name: &'static str,
    paths: Vec<(Role, PathBuf)>,
    parse: Parse<T>,
    /// The content read last; `None` where the files could not be read.
    last_read: Option<Vec<Vec<u8>>>,
    /// Whether `last_read` is what is in use.
    in_use: bool,
    value: Arc<T>,
    expires: Option<i64>,
}

type Parse<T> = fn(&[File]) -> Result<Loaded<T>, TlsError>;

/// A change that was loaded or rejected.
pub(crate) struct Event {
    pub(crate) name: &'static str,
    pub(crate) result: Result<(), TlsError>,
}

/// When what is in use expires, in Unix seconds.
pub(crate) struct Expiry {
    pub(crate) name: &'static str,
    pub(crate) at: i64,
}

/// A [`ReloadableFile`] of whatever content.
pub(crate) trait Reload {
    fn name(&self) -> &'static str;

    /// Reads the files again. What was rejected is tried again each time, since a certificate may become
    /// valid later, but reported once.
    fn reload(&mut self) -> Option<Event>;

    fn expiry(&self) -> Option<Expiry>;
}

impl<T> ReloadableFile<T> {
    pub(crate) fn load(
        name: &'static str,
        paths: Vec<(Role, PathBuf)>,
        parse: Parse<T>,
    ) -> Result<Self, TlsError> {
        let files = read(&paths)?;
        let Loaded { value, expires } = parse(&files)?;
        let last_read = Some(contents(files));
        Ok(Self { name, paths, parse, last_read, in_use: true, value: Arc::new(value), expires })
    }

    pub(crate) fn value(&self) -> Arc<T> {
        Arc::clone(&self.value)
    }
}

impl<T> Reload for ReloadableFile<T> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn reload(&mut self) -> Option<Event> {
        let files = read(&self.paths);
        let now = files.as_ref().ok().map(|files| files.iter().map(|file| &file.content).collect::<Vec<_>>());
        let again = read(&self.paths).ok().map(contents);
        if now != again.as_ref().map(|again| again.iter().collect()) {
            // In the middle of a change.
            return None;
        }
        let new = again != self.last_read;
        if !new && self.in_use {
            return None;
        }
        self.last_read = again;
        let loaded = files.and_then(|files| (self.parse)(&files));
        self.in_use = loaded.is_ok();
        let result = loaded.map(|Loaded { value, expires }| {
            self.value = Arc::new(value);
            self.expires = expires;
        });
        (new || result.is_ok()).then_some(Event { name: self.name, result })
    }

    fn expiry(&self) -> Option<Expiry> {
        Some(Expiry { name: self.name, at: self.expires? })
    }
}

pub(crate) fn read(paths: &[(Role, PathBuf)]) -> Result<Vec<File>, TlsError> {
    let read_one = |(role, path): &(Role, PathBuf)| match fs::read(path) {
        Ok(content) => Ok(File { role: *role, path: path.clone(), content }),
        Err(error) => Err(TlsError::File {
            role: *role,
            path: path.clone(),
            problem: format!("cannot be read: {error}"),
        }),
    };
    paths.iter().map(read_one).collect()
}

fn contents(files: Vec<File>) -> Vec<Vec<u8>> {
    files.into_iter().map(|file| file.content).collect()
}
