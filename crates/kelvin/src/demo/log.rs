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

/// The log of the server and the clients: warnings and errors, unless `RUST_LOG` sets another level. It goes to standard
/// error, except under the terminal UI, which shows the last line itself.
#[derive(Clone)]
pub(super) struct Log {
    last_line: Option<Arc<Mutex<String>>>,
}

impl Log {
    /// Installs the global subscriber. `keep` keeps the last line instead of writing to standard error.
    pub(super) fn init(keep: bool) -> Self {
        let log = Self { last_line: keep.then(Arc::default) };
        let levels = EnvFilter::builder().with_default_directive(LevelFilter::WARN.into());
        // The lossy parser panics where standard error is closed.
        let levels = levels.from_env().unwrap_or_else(|error| {
            report(&format!("kelvin: RUST_LOG ignored: {error}"));
            levels.parse_lossy("")
        });
        // Without a metric reader the SDK logs an error for every instrument.
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

    /// Returns the last line, if it is kept.
    pub(super) fn last(&self) -> String {
        self.last_line.as_ref().map(|last_line| last_line.lock().clone()).unwrap_or_default()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(last_line) = &self.last_line else { return io::stderr().write(bytes) };
        let text = String::from_utf8_lossy(bytes);
        if let Some(line) = text.lines().rfind(|line| !line.trim().is_empty()) {
            line.trim().clone_into(&mut last_line.lock());
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
