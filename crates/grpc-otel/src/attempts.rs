//! The attempts at one call: retries, transparent retries and hedges (gRFCs A6 and A96).

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::clock::Instant;

/// Marks a request as a transparent retry (gRFC A6): its previous attempt never reached a handler, so that it may be sent
/// again whatever the method does.
///
/// A layer outside of [`ClientAttemptLayer`](crate::ClientAttemptLayer) that sends a request again inserts this into its
/// extensions. The attempt's span then has `transparent-retry = true`, `previous-rpc-attempts` does not count it, and
/// `grpc.client.call.transparent_retries` does.
#[derive(Clone, Copy, Debug)]
pub struct TransparentRetry;

/// The attempts at one call so far.
#[derive(Default)]
pub(crate) struct Attempts(Mutex<State>);

#[derive(Default)]
struct State {
    begun: u64,
    hedges: u64,
    transparent: u64,
    active: u64,
    idle_since: Option<Instant>,
    delay: Duration,
}

/// What a call took beyond its first attempt.
#[derive(Clone, Copy)]
#[cfg_attr(not(feature = "metrics"), expect(dead_code, reason = "only metrics count"))]
pub(crate) struct Retries {
    pub(crate) ordinary: u64,
    pub(crate) transparent: u64,
    pub(crate) hedges: u64,
    /// Time without an attempt.
    pub(crate) delay: Duration,
}

impl Attempts {
    /// Counts an attempt that begins; one that begins while another is under way is a hedge. Returns how many there
    /// were before it, without transparent retries.
    pub(crate) fn begin(&self, now: Instant, transparent: bool) -> u64 {
        let mut state = self.lock();
        if let Some(since) = state.idle_since.take() {
            state.delay += now.saturating_duration_since(since);
        }
        if transparent {
            state.transparent += 1;
        } else {
            state.hedges += u64::from(state.active > 0);
            state.begun += 1;
        }
        state.active += 1;
        state.begun.saturating_sub(1)
    }

    /// Notes the end of an attempt. The retry delay runs while no attempt is active.
    pub(crate) fn attempt_ended(&self, at: Instant) {
        let mut state = self.lock();
        state.active -= 1;
        if state.active == 0 {
            state.idle_since = Some(at);
        }
    }

    /// Returns what the call has taken beyond its first attempt until now.
    #[cfg_attr(not(feature = "metrics"), expect(dead_code, reason = "only metrics count"))]
    pub(crate) fn retries(&self) -> Retries {
        let state = self.lock();
        Retries {
            ordinary: state.begun.saturating_sub(1 + state.hedges),
            transparent: state.transparent,
            hedges: state.hedges,
            delay: state.delay,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
