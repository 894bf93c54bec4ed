//! The time of calls, read as rarely as possible: what a reading of the clock takes is a good part of what metrics cost.

#[cfg(not(feature = "tsc"))]
pub(crate) use std::time::Instant;
#[cfg(feature = "trace")]
use std::{
    cell::Cell,
    time::{Duration, SystemTime},
};

#[cfg(feature = "tsc")]
pub(crate) use quanta::Instant;

/// How long the time of day is computed from an earlier reading of both clocks, instead of another reading. A step of
/// the system clock shows in spans no later than this.
#[cfg(feature = "trace")]
const TRUST: Duration = Duration::from_millis(100);

/// A moment, and the time of day at it.
#[cfg(feature = "trace")]
#[derive(Clone, Copy)]
pub(crate) struct StartTime {
    moment: Instant,
    time: SystemTime,
}

#[cfg(feature = "trace")]
impl StartTime {
    /// Returns the time of day at a moment that must have just been. It is computed from when this thread last read
    /// both clocks.
    pub(crate) fn at(moment: Instant) -> Self {
        thread_local! {
            static LAST: Cell<Option<StartTime>> = const { Cell::new(None) };
        }
        if let Some(last) = LAST.get()
            && let Some(since) = moment.checked_duration_since(last.moment)
            && since < TRUST
        {
            return Self { moment, time: last.time + since };
        }
        let now = both_clocks();
        LAST.set(Some(now));
        Self { moment, time: now.time - now.moment.saturating_duration_since(moment) }
    }

    /// Returns the time of day at a later moment, as far from this one as the moments are: a span lasts as long as its
    /// call.
    pub(crate) fn time_at(self, moment: Instant) -> SystemTime {
        self.time + moment.saturating_duration_since(self.moment)
    }

    pub(crate) fn time(self) -> SystemTime {
        self.time
    }
}

/// Reads both clocks at once: of three tries it takes the one in which the least time passed between them.
#[cfg(feature = "trace")]
fn both_clocks() -> StartTime {
    let tries = [(); 3].map(|()| {
        let (moment, time) = (Instant::now(), SystemTime::now());
        (moment.elapsed(), moment, time)
    });
    let (_, moment, time) = tries.into_iter().min_by_key(|(apart, ..)| *apart).expect("there are three");
    StartTime { moment, time }
}

#[cfg(all(test, feature = "trace"))]
mod tests {
    use std::thread::sleep;

    use super::*;

    /// How far the computed time may be from the read one: many times what reading both clocks takes.
    const SLACK: Duration = Duration::from_millis(1);

    /// Compares some pairs of moments with the system clock: the second of a pair is within [`TRUST`] of the first.
    fn compare() -> Result<(), String> {
        let end = Instant::now() + 3 * TRUST;
        let mut moment = Instant::now();
        while moment < end {
            for _ in 0..2 {
                let before = SystemTime::now();
                moment = Instant::now();
                let after = SystemTime::now();
                let time = StartTime::at(moment).time();
                if time <= before - SLACK || time >= after + SLACK {
                    return Err(format!("{before:?}, {time:?}, {after:?}"));
                }
            }
            sleep(TRUST / 20);
        }
        let earlier = StartTime::at(moment.checked_sub(4 * TRUST).expect("the machine has run for longer"));
        assert_eq!(earlier.time_at(moment), earlier.time() + 4 * TRUST);
        let apart = StartTime::at(moment).time().duration_since(earlier.time()).expect("earlier");
        if apart.abs_diff(4 * TRUST) < SLACK { Ok(()) } else { Err(format!("{apart:?} apart")) }
    }

    /// A thread that is preempted between its looks at the two clocks is off by as long, so a busy machine gets further
    /// tries. Each begins with a new look.
    #[test]
    fn time_of_day_matches_system_clock() {
        let mut result = compare();
        for _ in 0..9 {
            if result.is_ok() {
                break;
            }
            sleep(2 * TRUST);
            result = compare();
        }
        assert_eq!(result, Ok(()));
    }
}
