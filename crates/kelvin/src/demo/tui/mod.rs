//! The terminal UI.

mod calls;
mod command;
mod dashboard;
mod sensors;
mod svg;
mod table;
mod trace;

use std::{
    io,
    time::{Duration, Instant},
};

use kelvin_app::BoxError;
use ratatui::{
    DefaultTerminal, Terminal,
    backend::TestBackend,
    crossterm::event::{self, Event, KeyCode, KeyModifiers},
};

use super::{
    log::Log,
    runner::Demo,
    snapshot::{Rates, Snapshot},
    trace::Trace,
};
use dashboard::Dashboard;

const FRAME_INTERVAL: Duration = Duration::from_millis(200);
/// In columns and lines.
const SVG_SIZE: (u16, u16) = (110, 29);
/// Long enough to read a trace.
const TRACE_DISPLAY_TIME: Duration = Duration::from_secs(3);

/// Runs the terminal UI until `end`, or until the user or the demo stops. The terminal is restored, by ratatui's
/// hook also when this panics.
pub(super) fn show(demo: &Demo, log: &Log, end: Option<Instant>) -> Result<(), BoxError> {
    let mut terminal =
        ratatui::try_init().map_err(|error| format!("cannot start the UI: {error} (try --plain)"))?;
    let shown = event_loop(&mut terminal, demo, log, end);
    // `restore` would panic on a terminal that is gone.
    let _ = ratatui::try_restore();
    Ok(shown?)
}

/// Draws the UI as it is now, as SVG; needs no terminal.
pub(super) fn svg(demo: &Demo, log: &Log) -> Result<String, BoxError> {
    let (now, snapshot) = (Instant::now(), demo.snapshot());
    let start = now.checked_sub(snapshot.elapsed).unwrap_or(now);
    let rates = Rates::new(start).next(now, &snapshot);
    let dashboard = dashboard(demo, log, &snapshot, rates, snapshot.trace.as_ref());
    let mut terminal = Terminal::new(TestBackend::new(SVG_SIZE.0, SVG_SIZE.1))?;
    terminal.draw(|frame| dashboard.draw(frame))?;
    Ok(svg::from_buffer(terminal.backend().buffer()))
}

fn dashboard<'a>(
    demo: &Demo,
    log: &Log,
    snapshot: &'a Snapshot,
    rates: [f64; 5],
    trace: Option<&'a Trace>,
) -> Dashboard<'a> {
    Dashboard { address: demo.address(), rates, trace, grpcurl: demo.grpcurl(), log: log.last(), snapshot }
}

fn event_loop(
    terminal: &mut DefaultTerminal,
    demo: &Demo,
    log: &Log,
    end: Option<Instant>,
) -> io::Result<()> {
    let mut rates = Rates::new(Instant::now());
    let mut trace: Option<(Instant, Trace)> = None;
    loop {
        let now = Instant::now();
        let snapshot = demo.snapshot();
        if trace.as_ref().is_none_or(|(since, _)| since.elapsed() >= TRACE_DISPLAY_TIME) {
            trace = snapshot.trace.clone().map(|trace| (now, trace));
        }
        let dashboard = dashboard(
            demo,
            log,
            &snapshot,
            rates.next(now, &snapshot),
            trace.as_ref().map(|(_, trace)| trace),
        );
        terminal.draw(|frame| dashboard.draw(frame))?;

        let next = end.map_or(now + FRAME_INTERVAL, |end| end.min(now + FRAME_INTERVAL));
        while event::poll(next.saturating_duration_since(Instant::now()))? {
            match event::read()? {
                Event::Key(key) if is_quit_key(key.code, key.modifiers) => return Ok(()),
                Event::Resize(..) => break,
                _ => {}
            }
        }
        if demo.wait_until(Instant::now()) || end.is_some_and(|end| end <= Instant::now()) {
            return Ok(());
        }
    }
}

fn is_quit_key(code: KeyCode, modifiers: KeyModifiers) -> bool {
    match code {
        KeyCode::Char('q') | KeyCode::Esc => true,
        KeyCode::Char('c') => modifiers.contains(KeyModifiers::CONTROL),
        _ => false,
    }
}
