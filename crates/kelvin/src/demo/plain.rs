//! One line a second.

use std::{
    io::{self, ErrorKind},
    time::{Duration, Instant},
};

use kelvin_app::{BoxError, pluralize, report, try_print};
use kelvin_proto::CallType;

use super::{view::Rates, world::World};

/// Prints until `end`, until the world ends, or until nobody reads it. To standard error when standard output is for JSON.
pub(super) fn show(world: &World, json: bool, end: Option<Instant>) -> Result<(), BoxError> {
    match run(world, json, end) {
        // Its reader has all it wants, as in `kelvin demo | head`.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        shown => Ok(shown?),
    }
}

fn run(world: &World, json: bool, end: Option<Instant>) -> io::Result<()> {
    let print = |line: &str| {
        if json {
            report(line);
            return Ok(());
        }
        try_print(&format!("{line}\n"))
    };
    print(&format!("serving at {}; to call it:", world.address()))?;
    print(&world.grpcurl().join(" "))?;
    let start = Instant::now();
    let mut rates = Rates::new(start);
    for second in 1.. {
        let next = start + Duration::from_secs(second);
        let until = end.map_or(next, |end| end.min(next));
        if world.wait_until(until) || end.is_some_and(|end| end <= Instant::now()) {
            return Ok(());
        }
        let view = world.view();
        let rates = rates.next(Instant::now(), &view);
        let calls = CallType::ALL.into_iter().zip(&view.calls).zip(rates).map(|((kind, calls), rate)| {
            format!("{} {} ({rate:.1}/s, {} errors)", kind.name(), calls.count, calls.errors)
        });
        let calls: Vec<_> = calls.collect();
        let (seconds, calls) = (view.elapsed.as_secs(), calls.join(", "));
        let (readings, alerts) = (pluralize(view.stored(), "reading"), pluralize(view.alerts(), "alert"));
        print(&format!("{seconds:>4} s: {calls}, {readings}, {alerts}"))?;
    }
    Ok(())
}
