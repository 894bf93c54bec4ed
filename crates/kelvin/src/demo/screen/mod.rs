//! The picture.

mod calls;
mod connect;
mod draw;
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
    trace::Trace,
    view::{Rates, View},
    world::World,
};
use draw::Picture;

const FRAME: Duration = Duration::from_millis(200);
/// Columns and lines.
const SVG_SIZE: (u16, u16) = (110, 29);
/// Long enough to read a trace.
const TRACE_STAYS: Duration = Duration::from_secs(3);

/// Shows what happens until `end`, or until the user or the world ends it. The terminal is restored, by ratatui's
/// hook also when this panics.
pub(super) fn show(world: &World, log: &Log, end: Option<Instant>) -> Result<(), BoxError> {
    let mut terminal =
        ratatui::try_init().map_err(|error| format!("cannot start the UI: {error} (try --plain)"))?;
    let shown = live(&mut terminal, world, log, end);
    // `restore` would panic on a terminal that is gone.
    let _ = ratatui::try_restore();
    Ok(shown?)
}

/// Draws the UI as it is now, as SVG; needs no terminal.
pub(super) fn svg(world: &World, log: &Log) -> Result<String, BoxError> {
    let (now, view) = (Instant::now(), world.view());
    let start = now.checked_sub(view.elapsed).unwrap_or(now);
    let rates = Rates::new(start).next(now, &view);
    let picture = picture(world, log, &view, rates, view.trace.as_ref());
    let mut terminal = Terminal::new(TestBackend::new(SVG_SIZE.0, SVG_SIZE.1))?;
    terminal.draw(|frame| picture.draw(frame))?;
    Ok(svg::from_buffer(terminal.backend().buffer()))
}

fn picture<'a>(
    world: &World,
    log: &Log,
    view: &'a View,
    rates: [f64; 5],
    trace: Option<&'a Trace>,
) -> Picture<'a> {
    Picture { address: world.address(), rates, trace, grpcurl: world.grpcurl(), log: log.last(), view }
}

fn live(terminal: &mut DefaultTerminal, world: &World, log: &Log, end: Option<Instant>) -> io::Result<()> {
    let mut rates = Rates::new(Instant::now());
    let mut trace: Option<(Instant, Trace)> = None;
    loop {
        let now = Instant::now();
        let view = world.view();
        if trace.as_ref().is_none_or(|(since, _)| since.elapsed() >= TRACE_STAYS) {
            trace = view.trace.clone().map(|trace| (now, trace));
        }
        let picture =
            picture(world, log, &view, rates.next(now, &view), trace.as_ref().map(|(_, trace)| trace));
        terminal.draw(|frame| picture.draw(frame))?;

        let next = end.map_or(now + FRAME, |end| end.min(now + FRAME));
        while event::poll(next.saturating_duration_since(Instant::now()))? {
            match event::read()? {
                Event::Key(key) if quits(key.code, key.modifiers) => return Ok(()),
                Event::Resize(..) => break,
                _ => {}
            }
        }
        if world.wait_until(Instant::now()) || end.is_some_and(|end| end <= Instant::now()) {
            return Ok(());
        }
    }
}

fn quits(code: KeyCode, modifiers: KeyModifiers) -> bool {
    match code {
        KeyCode::Char('q') | KeyCode::Esc => true,
        KeyCode::Char('c') => modifiers.contains(KeyModifiers::CONTROL),
        _ => false,
    }
}
