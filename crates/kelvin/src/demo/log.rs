use std::{
    io::{self, IsTerminal as _, Write},
    sync::Arc,
};

use kelvin_app::report;
use parking_lot::Mutex;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::{
    EnvFilter, Layer as _,
    filter::{FilterExt as _, filter_fn},
    fmt::MakeWriter,
    layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

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
        let levels = EnvFilter::builder().with_default_directive(LevelFilter::WARN.into());
        // The lossy parser panics where standard error is closed.
        let levels = levels.from_env().unwrap_or_else(|error| {
            report(&format!("kelvin: RUST_LOG ignored: {error}"));
            levels.parse_lossy("")
        });
        // Where nobody collects metrics the SDK takes every instrument for an error.
        let filter = levels.and(filter_fn(|metadata| metadata.name() != "InstrumentCreationFailed"));
        let lines = tracing_subscriber::fmt::layer().with_writer(log.clone());
        let lines = if keep {
            lines.with_ansi(false).without_time().compact().boxed()
        } else {
            lines.with_ansi(io::stderr().is_terminal()).boxed()
        };
        tracing_subscriber::registry().with(lines.with_filter(filter)).init();
        log
    }

    /// The last line, if lines are kept.
    pub(super) fn last(&self) -> String {
        self.kept.as_ref().map(|kept| kept.lock().clone()).unwrap_or_default()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(kept) = &self.kept else { return io::stderr().write(bytes) };
        let text = String::from_utf8_lossy(bytes);
        if let Some(line) = text.lines().rfind(|line| !line.trim().is_empty()) {
            line.trim().clone_into(&mut kept.lock());
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
