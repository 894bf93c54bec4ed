//! Files that are polled for changes; the last valid content stays in use.

use std::{
    fs::{self, OpenOptions},
    io::{self, ErrorKind, Read as _},
    os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use opentelemetry::KeyValue;
use rustix::fs::OFlags;

use crate::{Role, TlsError};

/// Maximum file size: 20 times a typical system CA bundle. Each file is read at every interval, and the process may have a
/// memory limit.
const MAX_SIZE: usize = 4 << 20;

/// The time that the writer of a pipe has at startup.
const PIPE_TIMEOUT: Duration = Duration::from_secs(5);
const PIPE_POLL: Duration = Duration::from_millis(10);

/// A file as it was read.
pub(crate) struct File {
    pub(crate) role: Role,
    pub(crate) path: PathBuf,
    /// The content, or the reason why it cannot be read.
    pub(crate) content: Content,
}

pub(crate) type Content = Result<Vec<u8>, String>;

impl File {
    pub(crate) fn content(&self) -> Result<&[u8], TlsError> {
        self.content.as_deref().map_err(|problem| self.error(problem))
    }

    /// Returns the content without a byte order mark, which some editors and PowerShell write.
    pub(crate) fn text(&self) -> Result<&str, TlsError> {
        let text = str::from_utf8(self.content()?).map_err(|_| self.error("is not UTF-8"))?;
        Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
    }

    pub(crate) fn error(&self, problem: impl Into<String>) -> TlsError {
        TlsError::File { role: self.role, path: self.path.clone(), problem: problem.into() }
    }
}

/// The parsed content of files, and its expiry in Unix seconds if it has one.
pub(crate) struct Loaded<T> {
    pub(crate) value: T,
    pub(crate) expires: Option<i64>,
}

/// The purpose of files: the value of the attribute `file` of metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Purpose {
    ServerCertificate,
    /// The server's second certificate.
    ExternalCertificate,
    ServerCa,
    ClientCertificate,
    ClientCa,
    Tokens,
    StorePassword,
    StoreCertificate,
    StoreCa,
    OtlpCertificate,
    OtlpCa,
}

/// Files that belong together, such as a certificate and its key, and their parsed content.
pub(crate) struct ReloadableFile<T> {
    purpose: Purpose,
    paths: Vec<(Role, PathBuf)>,
    parse: Parse<T>,
    last_read: Vec<Content>,
    /// Whether one of them is a pipe, such as the shell's `<(…)`, whose content can be read only once.
    read_once: bool,
    /// Whether `last_read` is valid, so that `value` was parsed from it.
    in_use: bool,
    value: Arc<T>,
    expires: Option<i64>,
}

pub(crate) type Parse<T> = fn(&[File]) -> Result<Loaded<T>, TlsError>;

/// A change that was loaded or rejected.
pub(crate) struct Event {
    pub(crate) file: Purpose,
    pub(crate) result: Result<(), TlsError>,
}

/// The expiry of the content in use, in Unix seconds.
pub(crate) struct Expiry {
    pub(crate) file: Purpose,
    pub(crate) at: i64,
}

/// A [`ReloadableFile`] with any type of content.
pub(crate) trait Reload {
    fn purpose(&self) -> Purpose;

    /// Reads the files again. Rejected content is parsed again each time, since a certificate may become
    /// valid later, but it is reported only once.
    fn reload(&mut self) -> Option<Event>;

    fn expiry(&self) -> Option<Expiry>;
}

impl Purpose {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::ServerCertificate => "server_certificate",
            Self::ExternalCertificate => "external_certificate",
            Self::ServerCa => "server_ca",
            Self::ClientCertificate => "client_certificate",
            Self::ClientCa => "client_ca",
            Self::Tokens => "tokens",
            Self::StorePassword => "store_password",
            Self::StoreCertificate => "store_certificate",
            Self::StoreCa => "store_ca",
            Self::OtlpCertificate => "otlp_certificate",
            Self::OtlpCa => "otlp_ca",
        }
    }
}

impl From<Purpose> for KeyValue {
    fn from(purpose: Purpose) -> Self {
        Self::new("file", purpose.as_str())
    }
}

impl<T> ReloadableFile<T> {
    pub(crate) fn load(
        purpose: Purpose,
        paths: Vec<(Role, PathBuf)>,
        parse: Parse<T>,
    ) -> Result<Self, TlsError> {
        let read_once = paths
            .iter()
            .any(|(_, path)| fs::metadata(path).is_ok_and(|metadata| metadata.file_type().is_fifo()));
        let files = read(&paths);
        let Loaded { value, expires } = parse(&files)?;
        let last_read = contents(files);
        let value = Arc::new(value);
        Ok(Self { purpose, paths, parse, last_read, read_once, in_use: true, value, expires })
    }

    pub(crate) fn value(&self) -> Arc<T> {
        Arc::clone(&self.value)
    }
}

impl<T> Reload for ReloadableFile<T> {
    fn purpose(&self) -> Purpose {
        self.purpose
    }

    fn reload(&mut self) -> Option<Event> {
        if self.read_once {
            return None;
        }
        // Waiting for the writer of a pipe would delay the shutdown.
        let files = read_within(&self.paths, Duration::ZERO);
        let again = contents(read_within(&self.paths, Duration::ZERO));
        if !files.iter().map(|file| &file.content).eq(&again) {
            // The files are being changed.
            return None;
        }
        let new = again != self.last_read;
        if !new && self.in_use {
            return None;
        }
        self.last_read = again;
        let loaded = (self.parse)(&files);
        self.in_use = loaded.is_ok();
        let result = loaded.map(|Loaded { value, expires }| {
            self.value = Arc::new(value);
            self.expires = expires;
        });
        (new || result.is_ok()).then_some(Event { file: self.purpose, result })
    }

    fn expiry(&self) -> Option<Expiry> {
        Some(Expiry { file: self.purpose, at: self.expires? })
    }
}

/// Reads the files, and waits for the writers of pipes.
pub(crate) fn read(paths: &[(Role, PathBuf)]) -> Vec<File> {
    read_within(paths, PIPE_TIMEOUT)
}

fn read_within(paths: &[(Role, PathBuf)], timeout: Duration) -> Vec<File> {
    let read = |(role, path): &(Role, PathBuf)| File {
        role: *role,
        path: path.clone(),
        content: content(path, timeout),
    };
    paths.iter().map(read).collect()
}

fn content(path: &Path, timeout: Duration) -> Content {
    let unreadable = |error: io::Error| format!("cannot be read: {error}");
    // Without this flag, opening a FIFO blocks until it has a writer.
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(unreadable)?;
    let kind = file.metadata().map_err(unreadable)?.file_type();
    if !kind.is_file() && !kind.is_fifo() {
        return Err("is neither a regular file nor a pipe".into());
    }
    let deadline = Instant::now() + timeout;
    let mut file = file.take(MAX_SIZE as u64 + 1);
    let mut content = Vec::new();
    loop {
        match file.read_to_end(&mut content) {
            Ok(_) if content.len() > MAX_SIZE => return Err("is larger than 4 MiB".into()),
            // A pipe also reports its end before its writer has opened it.
            Ok(_) if kind.is_file() || !content.is_empty() => return Ok(content),
            Err(error) if error.kind() != ErrorKind::WouldBlock => return Err(unreadable(error)),
            _ if Instant::now() >= deadline => {
                return Err("is a pipe that its writer did not close within 5 s of startup".into());
            }
            _ => thread::sleep(PIPE_POLL),
        }
    }
}

fn contents(files: Vec<File>) -> Vec<Content> {
    files.into_iter().map(|file| file.content).collect()
}
