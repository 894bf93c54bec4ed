//! The state of a client's calls, reported in the log when it changes, and on the health port.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use kelvin_app::health::Health;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};

use crate::backoff::Backoff;

const INITIAL_BACKOFF: Duration = Duration::from_millis(200);
/// Short, because a call that fails without a connection costs the server nothing.
const MAX_BACKOFF: Duration = Duration::from_secs(2);
/// After rejected credentials. The first retry comes soon, because the server may not have reloaded its token file yet. Later
/// ones are rare, because only a new token helps, and a changed token file ends the wait.
const INITIAL_AUTH_BACKOFF: Duration = Duration::from_secs(1);
const MAX_AUTH_BACKOFF: Duration = Duration::from_secs(30);
/// The interval at which a lasting failure is logged again.
const REPEAT_INTERVAL: Duration = Duration::from_mins(1);

/// Tracks the results of one client's calls.
#[derive(Debug)]
pub(crate) struct Progress {
    health: Health,
    /// Cancelled at the end, when this client is not ready whatever comes of its last calls.
    closing: CancellationToken,
    token_file: Option<PathBuf>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    backoff: Backoff,
    auth_backoff: Backoff,
    /// A call has succeeded at some time.
    succeeded_before: bool,
    failures: u32,
    since: Instant,
    /// The status code that was last logged, and when.
    last_reported: Option<(Code, Instant)>,
}

impl Progress {
    pub(crate) fn new(health: Health, closing: CancellationToken, token_file: Option<PathBuf>) -> Self {
        let state = State {
            backoff: Backoff::new(INITIAL_BACKOFF, MAX_BACKOFF),
            auth_backoff: Backoff::new(INITIAL_AUTH_BACKOFF, MAX_AUTH_BACKOFF),
            succeeded_before: false,
            failures: 0,
            since: Instant::now(),
            last_reported: None,
        };
        Self { health, closing, token_file, state: Mutex::new(state) }
    }

    /// Records a call that succeeded.
    pub(crate) fn record_success(&self) {
        let mut state = self.state.lock();
        if !self.closing.is_cancelled() {
            self.health.set_ready();
        }
        if !std::mem::replace(&mut state.succeeded_before, true) {
            tracing::info!("first call succeeded");
        }
        if state.failures > 0 {
            tracing::info!(failures = state.failures, after = ?state.since.elapsed(), "calls recovered");
            state.failures = 0;
            state.last_reported = None;
            state.backoff.reset();
            state.auth_backoff.reset();
        }
    }

    /// Records a failed call. Returns how long to wait before the next.
    pub(crate) fn record_failure(&self, status: &Status) -> Duration {
        let mut state = self.state.lock();
        if state.failures == 0 {
            state.since = Instant::now();
        }
        state.failures += 1;
        let (code, now) = (status.code(), Instant::now());
        let auth_error = is_auth_error(status);
        self.health.set_unready(if auth_error {
            "the server rejects the credentials"
        } else {
            "calls are failing"
        });
        let log = state
            .last_reported
            .is_none_or(|(last, at)| last != code || (!auth_error && now - at >= REPEAT_INTERVAL));
        if log {
            state.last_reported = Some((code, now));
            self.log(status);
        } else {
            tracing::debug!(?code, reason = status.message(), "call failed again");
        }
        if auth_error { state.auth_backoff.next() } else { state.backoff.next() }
    }

    fn log(&self, status: &Status) {
        let (code, reason) = (status.code(), status.message());
        match &self.token_file {
            _ if !is_auth_error(status) => {
                tracing::warn!(?code, reason, "call failed; retrying with exponential backoff");
            }
            Some(file) => tracing::error!(
                ?code, reason, file = %file.display(),
                "the server rejects the token; write a valid one to the file, which is reloaded automatically; \
                 retrying with a long backoff"
            ),
            None => tracing::error!(
                ?code,
                reason,
                "the server requires a token or a client certificate: set KELVIN_TOKEN_FILE, or KELVIN_TLS_CERT and \
                 KELVIN_TLS_KEY; retrying with a long backoff"
            ),
        }
    }
}

/// Returns whether the server rejects our credentials.
pub(crate) fn is_auth_error(status: &Status) -> bool {
    matches!(status.code(), Code::Unauthenticated | Code::PermissionDenied)
}
