//! One line a second.

use std::{
    io::{self, ErrorKind},
    time::{Duration, Instant},
};

use kelvin_app::{BoxError, pluralize, report, try_print};
use kelvin_proto::CallType;

use super::{runner::Demo, snapshot::Rates};

/// Prints until `end`, until the demo stops, or until standard output is closed. Prints to standard error when standard
/// output is for JSON.
pub(super) fn show(demo: &Demo, json: bool, end: Option<Instant>) -> Result<(), BoxError> {
    match run(demo, json, end) {
        // The reader has what it wants, as in `kelvin demo | head`.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        shown => Ok(shown?),
    }
}

fn run(demo: &Demo, json: bool, end: Option<Instant>) -> io::Result<()> {
    let print = |line: &str| {
        if json {
            report(line);
            return Ok(());
        }
        try_print(&format!("{line}\n"))
    };
    print(&format!("serving at {}; to call it:", demo.address()))?;
    print(&demo.grpcurl().join(" "))?;
    let start = Instant::now();
    let mut rates = Rates::new(start);
    for second in 1.. {
        let next = start + Duration::from_secs(second);
        let until = end.map_or(next, |end| end.min(next));
        if demo.wait_until(until) || end.is_some_and(|end| end <= Instant::now()) {
            return Ok(());
        }
        let snapshot = demo.snapshot();
        let rates = rates.next(Instant::now(), &snapshot);
        let calls = CallType::ALL.into_iter().zip(&snapshot.calls).zip(rates).map(|((kind, calls), rate)| {
            format!("{} {} ({rate:.1}/s, {} errors)", kind.name(), calls.count, calls.errors)
        });
        let calls: Vec<_> = calls.collect();
        let (seconds, calls) = (snapshot.elapsed.as_secs(), calls.join(", "));
        let (readings, alerts) =
            (pluralize(snapshot.stored(), "reading"), pluralize(snapshot.alerts(), "alert"));
        print(&format!("{seconds:>4} s: {calls}, {readings}, {alerts}"))?;
    }
    Ok(())
}
