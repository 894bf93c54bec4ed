//! `kelvin demo`: the server and four clients in this process, shown in a terminal UI.

mod arguments;
mod credentials_dir;
mod log;
mod plain;
mod record;
mod runner;
mod sensors;
mod settings;
mod snapshot;
mod summary;
#[cfg(test)]
mod test_span;
mod trace;
mod tui;

use std::{
    env,
    ffi::OsStr,
    fs,
    io::{self, IsTerminal as _},
    path::Path,
    time::Instant,
};

use kelvin_app::{BoxError, print};

pub(crate) use arguments::Arguments;
use runner::Demo;

/// Runs until the time is over, the user quits or a signal comes; then prints the summary.
pub(crate) fn run(arguments: &Arguments) -> Result<(), BoxError> {
    let terminal = io::stdout().is_terminal() && supports_tui(env::var_os("TERM").as_deref());
    let live = !arguments.plain && !arguments.json && terminal;
    let log = log::Log::init(live);
    let demo = Demo::start(arguments)?;
    let end = arguments.duration.map(|duration| Instant::now() + duration);
    let shown = if live { tui::show(&demo, &log, end) } else { plain::show(&demo, arguments.json, end) };
    let summary = demo.snapshot().summary();
    let picture = arguments.picture.as_ref().map(|file| save(&tui::svg(&demo, &log)?, file));
    // The error that stopped it is worth more than the summary.
    demo.stop()?;
    picture.transpose()?;
    if arguments.json {
        print(&format!("{}\n", serde_json::to_string_pretty(&summary)?))?;
    } else {
        print(&summary.to_string())?;
    }
    shown
}

fn save(picture: &str, file: &Path) -> Result<(), BoxError> {
    fs::write(file, picture).map_err(|error| format!("cannot write {}: {error}", file.display()).into())
}

/// Returns whether a terminal of this type can show the terminal UI. Windows sets no `TERM`.
fn supports_tui(term: Option<&OsStr>) -> bool {
    term.map_or(cfg!(windows), |term| !term.is_empty() && term != "dumb")
}

#[cfg(test)]
mod tests {
    use super::supports_tui;

    #[test]
    fn dumb_terminal_gets_plain_lines() {
        assert!(supports_tui(Some("xterm-256color".as_ref())));
        for term in [Some("dumb".as_ref()), Some("".as_ref())] {
            assert!(!supports_tui(term), "{term:?}");
        }
        assert_eq!(supports_tui(None), cfg!(windows));
    }
}
