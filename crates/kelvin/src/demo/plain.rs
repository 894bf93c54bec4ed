//! One line a second.

use std::time::{Duration, Instant};

use kelvin_app::counted;
use kelvin_proto::CallType;

use super::{view::Rates, world::World};

/// Prints until `end`, or until the world ends. To standard error when standard output is for JSON.
pub(super) fn show(world: &World, json: bool, end: Option<Instant>) {
    let say = |line: &str| if json { eprintln!("{line}") } else { println!("{line}") };
    say(&format!("serving at {}; to call it:", world.address()));
    say(&world.grpcurl().join(" "));
    let start = Instant::now();
    let mut rates = Rates::new(start);
    for second in 1.. {
        let next = start + Duration::from_secs(second);
        let until = end.map_or(next, |end| end.min(next));
        if world.wait_until(until) || end.is_some_and(|end| end <= Instant::now()) {
            return;
        }
        let view = world.view();
        let rates = rates.next(Instant::now(), &view);
        let calls = CallType::ALL.into_iter().zip(&view.calls).zip(rates).map(|((kind, calls), rate)| {
            format!("{} {} ({rate:.1}/s, {} errors)", kind.name(), calls.count, calls.errors)
        });
        let calls: Vec<_> = calls.collect();
        let (seconds, calls) = (view.elapsed.as_secs(), calls.join(", "));
        let (readings, alerts) = (counted(view.stored(), "reading"), counted(view.alerts(), "alert"));
        say(&format!("{seconds:>4} s: {calls}, {readings}, {alerts}"));
    }
}
