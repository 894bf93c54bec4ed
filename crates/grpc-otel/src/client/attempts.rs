//! What a call learns of its attempts (gRFC A96).

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::{call::Call, clock::Instant, recorder::Side};

/// The attempts of one call so far. The call layer puts it into the request's extensions, from
/// where it comes to every attempt.
#[derive(Default)]
pub(crate) struct Attempts(Mutex<State>);

#[derive(Default)]
struct State {
    begun: u64,
    hedges: u64,
    active: u64,
    idle_since: Option<Instant>,
    delay: Duration,
}

impl Attempts {
    /// An attempt begins; one that begins while another runs is a hedge. Returns how many there
    /// were before.
    pub(crate) fn begin(&self, now: Instant) -> u64 {
        let mut state = self.lock();
        if let Some(since) = state.idle_since.take() {
            state.delay += now.saturating_duration_since(since);
        }
        state.hedges += u64::from(state.active > 0);
        state.active += 1;
        state.begun += 1;
        state.begun - 1
    }

    /// An attempt or the call itself has ended.
    pub(crate) fn ended(&self, call: &Call, duration: Duration) {
        let mut state = self.lock();
        if call.recorder.side == Side::Attempt {
            state.active -= 1;
            if state.active == 0 {
                state.idle_since = Some(call.started + duration);
            }
        } else {
            #[cfg(feature = "metrics")]
            call.recorder.metrics.retried(
                state.begun.saturating_sub(1 + state.hedges),
                state.hedges,
                state.delay,
            );
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
