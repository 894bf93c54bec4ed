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

/// For so long the time of day is taken to go on as the other clock does, if nobody sets it.
#[cfg(feature = "trace")]
const TRUST: Duration = Duration::from_millis(100);

/// A moment, and the time of day at it.
#[cfg(feature = "trace")]
#[derive(Clone, Copy)]
pub(crate) struct Beginning {
    moment: Instant,
    time: SystemTime,
}

#[cfg(feature = "trace")]
impl Beginning {
    /// At a moment that must have just been. The time of day is reckoned from when this thread last looked at both clocks.
    pub(crate) fn at(moment: Instant) -> Self {
        thread_local! {
            static LAST: Cell<Option<Beginning>> = const { Cell::new(None) };
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

    /// The time of day at a later moment, as far from this one as the moments are: a span lasts as long as its call.
    pub(crate) fn time_at(self, moment: Instant) -> SystemTime {
        self.time + moment.saturating_duration_since(self.moment)
    }

    pub(crate) fn time(self) -> SystemTime {
        self.time
    }
}

/// What both clocks say at once: of three tries the one in which the least time passed between them.
#[cfg(feature = "trace")]
fn both_clocks() -> Beginning {
    let tries = [(); 3].map(|()| {
        let (moment, time) = (Instant::now(), SystemTime::now());
        (moment.elapsed(), moment, time)
    });
    let (_, moment, time) = tries.into_iter().min_by_key(|(apart, ..)| *apart).expect("there are three");
    Beginning { moment, time }
}

#[cfg(all(test, feature = "trace"))]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_day_is_that_of_the_moment() {
        const SLACK: Duration = Duration::from_millis(1);
        let end = Instant::now() + 3 * TRUST;
        let mut moment = Instant::now();
        while moment < end {
            let before = SystemTime::now();
            moment = Instant::now();
            let after = SystemTime::now();
            let time = Beginning::at(moment).time();
            assert!(before - SLACK < time && time < after + SLACK, "{before:?}, {time:?}, {after:?}");
        }
        let earlier = Beginning::at(moment.checked_sub(4 * TRUST).expect("the machine has run for longer"));
        assert_eq!(earlier.time_at(moment), earlier.time() + 4 * TRUST);
        let apart = Beginning::at(moment).time().duration_since(earlier.time()).expect("earlier");
        assert!(apart.abs_diff(4 * TRUST) < SLACK, "{apart:?}");
    }
}
