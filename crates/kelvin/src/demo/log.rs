use std::{
    io::{self, Write},
    sync::{Arc, Mutex},
};

use tracing_subscriber::{EnvFilter, fmt::MakeWriter};

/// What the server and the clients have to say: warnings and errors, unless `RUST_LOG` wants more. On standard error,
/// or kept for the picture, which lines in between would tear.
#[derive(Clone)]
pub(super) struct Log {
    kept: Option<Arc<Mutex<String>>>,
}

impl Log {
    /// Becomes the process's subscriber.
    pub(super) fn start(keep: bool) -> Self {
        let log = Self { kept: keep.then(Arc::default) };
        let filter =
            EnvFilter::builder().with_default_directive(tracing::Level::WARN.into()).from_env_lossy();
        let format = tracing_subscriber::fmt().with_env_filter(filter).with_writer(log.clone());
        if keep {
            format.with_ansi(false).without_time().compact().init();
        } else {
            format.init();
        }
        log
    }

    /// The last line, if lines are kept.
    pub(super) fn last(&self) -> String {
        self.kept.as_ref().map(|kept| kept.lock().expect("never poisoned").clone()).unwrap_or_default()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(kept) = &self.kept else { return io::stderr().write(bytes) };
        let text = String::from_utf8_lossy(bytes);
        if let Some(line) = text.lines().rfind(|line| !line.trim().is_empty()) {
            line.trim().clone_into(&mut kept.lock().expect("never poisoned"));
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}
