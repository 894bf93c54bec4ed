//! How a client is doing: said in the log when it changes, and on the health port.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use kelvin_app::health::Health;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};

use crate::backoff::Backoff;

const FIRST_WAIT: Duration = Duration::from_millis(200);
/// Short, for without a connection a call fails before it costs anything.
const LONGEST_WAIT: Duration = Duration::from_secs(2);
/// After a refusal: soon at first, for the server may be about to read the token that we have read already; then
/// slowly, for only somebody who puts the right token into the file can help.
const FIRST_REFUSED_WAIT: Duration = Duration::from_secs(1);
const LONGEST_REFUSED_WAIT: Duration = Duration::from_secs(30);
/// What goes on failing is said again after so long.
const REMIND: Duration = Duration::from_mins(1);

/// What the calls of one client come to.
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
    refused_backoff: Backoff,
    /// A call has succeeded at some time.
    worked: bool,
    failures: u32,
    since: Instant,
    /// What was last said of the failures, and when.
    last_reported: Option<(Code, Instant)>,
}

impl Progress {
    pub(crate) fn new(health: Health, closing: CancellationToken, token_file: Option<PathBuf>) -> Self {
        let state = State {
            backoff: Backoff::new(FIRST_WAIT, LONGEST_WAIT),
            refused_backoff: Backoff::new(FIRST_REFUSED_WAIT, LONGEST_REFUSED_WAIT),
            worked: false,
            failures: 0,
            since: Instant::now(),
            last_reported: None,
        };
        Self { health, closing, token_file, state: Mutex::new(state) }
    }

    /// The server answered a call as it should.
    pub(crate) fn record_success(&self) {
        let mut state = self.state.lock();
        if !self.closing.is_cancelled() {
            self.health.set_ready();
        }
        if !std::mem::replace(&mut state.worked, true) {
            tracing::info!("calls succeed");
        }
        if state.failures > 0 {
            tracing::info!(failures = state.failures, after = ?state.since.elapsed(), "calls succeed again");
            state.failures = 0;
            state.last_reported = None;
            state.backoff.reset();
            state.refused_backoff.reset();
        }
    }

    /// A call failed. Says how long to wait before the next.
    pub(crate) fn record_failure(&self, status: &Status) -> Duration {
        let mut state = self.state.lock();
        if state.failures == 0 {
            state.since = Instant::now();
        }
        state.failures += 1;
        let (code, now) = (status.code(), Instant::now());
        let refused = is_refusal(status);
        self.health.set_unready(if refused { "the server refuses the token" } else { "calls fail" });
        let log =
            state.last_reported.is_none_or(|(last, at)| last != code || (!refused && now - at >= REMIND));
        if log {
            state.last_reported = Some((code, now));
            self.log(status);
        } else {
            tracing::debug!(?code, reason = status.message(), "call failed again");
        }
        if refused { state.refused_backoff.next() } else { state.backoff.next() }
    }

    fn log(&self, status: &Status) {
        let (code, reason) = (status.code(), status.message());
        match &self.token_file {
            _ if !is_refusal(status) => {
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

/// Whether the server knows who we are and does not want us, or does not know it.
pub(crate) fn is_refusal(status: &Status) -> bool {
    matches!(status.code(), Code::Unauthenticated | Code::PermissionDenied)
}
