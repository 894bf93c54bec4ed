//! Counts the resources that one connection uses.
//!
//! ```text
//!             Metered (frame headers)         IncomingBody                 Call
//! peer ─TLS─▶ DATA, HEADERS: charge ──▶ h2 ──▶ read: release ──▶ handler ──▶ reply: charge ─▶ h2 ─▶ Metered: release ─▶ peer
//! ```
//!
//! A connection, its calls and its frames are processed on one thread, so the lock of the state is never contended. The
//! bytes that the connection holds are reserved from the process-wide budget in steps, so that a small call touches no
//! memory that threads share.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::futures::OwnedNotified;

use super::{
    frames::{FrameHeader, HEADERS, SETTINGS},
    ledger::Ledger,
    registry::{Admitted, Registry},
    settings_rate::SettingsRate,
    state::ConnectionState,
    turns::{NextTurn, Turns},
};
use crate::metrics::CloseReason;

/// The step, in bytes, in which a connection reserves memory from the process-wide budget.
const STEP: usize = 4096;

/// The maximum number of bytes that an unauthenticated connection may hold.
const UNAUTHENTICATED_BYTES: usize = 128 * 1024;

/// The maximum number of open calls on an unauthenticated connection.
const UNAUTHENTICATED_CALLS: u32 = 4;

/// The number of consecutive refused calls that closes an unauthenticated connection.
const REFUSED_CALLS: u32 = 100;

/// A connection that has reserved at most this many bytes does not wait for others to free memory, so that well-behaved
/// callers are not delayed.
const SMALL: usize = 64 * 1024;

/// The budget of one turn, which is one poll of a connection. A frame costs 1, a HEADERS frame more because it starts a call,
/// and a SETTINGS frame more because h2 visits every open stream for it. When the budget is used up, other connections have
/// their turn.
const TURN: u32 = 1024;
const TURN_HEADERS: u32 = 16;
const TURN_SETTINGS: u32 = 128;

/// The time limit for reading in a turn, and again for the work of the calls after it. A batch of readings, or a few frames
/// of a reply, that have already begun may exceed it.
const TURN_TIME: Duration = Duration::from_micros(200);

/// The value of `turn_end` while the connection is not being polled.
const NO_TURN: u64 = u64::MAX;

/// The number of reply frames that a call sends without reading the clock: the message and the trailers of a unary call.
const FREE_FRAMES: u32 = 2;

/// Accounts for the resources of a connection, and decides whether it may continue.
#[derive(Debug)]
pub(crate) struct Account {
    connection: Arc<ConnectionState>,
    registry: Arc<Registry>,
    state: Mutex<AccountState>,
    refused_calls: AtomicU32,
    turn: AtomicU32,
    /// In nanoseconds since `created`, or [`NO_TURN`].
    turn_end: AtomicU64,
    free_frames: AtomicU32,
    /// Whether a read of the socket was pending in this turn.
    drained: AtomicBool,
    /// Whether work of this turn was left to the next one.
    used_up: AtomicBool,
    turns: Turns,
    created: Instant,
}

#[derive(Debug, Default)]
struct AccountState {
    ledger: Ledger,
    /// Bytes reserved from the process-wide budget.
    reserved: usize,
    settings: SettingsRate,
}

impl Account {
    pub(crate) fn new(admitted: &Admitted, turns: Turns) -> Self {
        Self {
            connection: Arc::clone(admitted.state()),
            registry: Arc::clone(admitted.registry()),
            state: Mutex::default(),
            refused_calls: AtomicU32::new(0),
            turn: AtomicU32::new(TURN),
            turn_end: AtomicU64::new(NO_TURN),
            free_frames: AtomicU32::new(0),
            drained: AtomicBool::new(false),
            used_up: AtomicBool::new(false),
            turns,
            created: Instant::now(),
        }
    }

    fn state(&self) -> MutexGuard<'_, AccountState> {
        self.state.lock()
    }
}

/// Authentication of the peer.
impl Account {
    pub(crate) fn is_authenticated(&self) -> bool {
        self.connection.is_authenticated()
    }

    /// Records that the peer is authenticated, by an accepted call or by its client certificate.
    pub(crate) fn authenticate(&self) {
        if self.connection.authenticate() {
            self.registry.authenticated(&self.connection);
        }
    }

    /// Records a refused call. Only connections without an accepted call are closed for refused calls, because a gateway
    /// sends the calls of many callers over one connection.
    pub(crate) fn refuse(&self) {
        if !self.is_authenticated() && self.refused_calls.fetch_add(1, Relaxed) + 1 >= REFUSED_CALLS {
            self.registry.close_one(&self.connection, CloseReason::Refused);
        }
    }

    /// Records the answer to a call that needs no token.
    pub(crate) fn answer(&self) {
        self.refused_calls.store(0, Relaxed);
    }

    /// Returns whether a call that has just begun may continue.
    pub(crate) fn admits_call(&self) -> bool {
        self.is_authenticated() || self.connection.open_calls() <= UNAUTHENTICATED_CALLS
    }
}

/// Closing of the connection.
impl Account {
    pub(super) fn closing(&self) -> Option<CloseReason> {
        self.connection.closing()
    }

    /// Returns the reason as soon as the connection has to close.
    pub(super) fn poll_closing(&self, cx: &Context<'_>) -> Poll<CloseReason> {
        self.connection.poll_closing(cx)
    }

    /// Runs `work` unless the connection has to close.
    pub(crate) async fn unless_closing<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        self.connection.unless_closing(work).await
    }
}

/// Turns: the share of its thread that the connection gets.
impl Account {
    pub(super) fn begin_turn(&self) {
        self.turn.store(TURN, Relaxed);
        self.drained.store(false, Relaxed);
        self.used_up.store(false, Relaxed);
        self.begin_turn_of_calls();
    }

    /// Starts the time limit of the calls, after the reads of this turn.
    pub(super) fn begin_turn_of_calls(&self) {
        self.turn_end.store(nanoseconds(self.created.elapsed() + TURN_TIME), Relaxed);
    }

    /// Ends the turn. If work is left, returns the next turn; the task has been woken to wait for it. Outside turns there is
    /// no limit, because tonic's services read request bodies in tasks of their own.
    pub(super) fn end_turn(&self) -> Option<NextTurn> {
        self.turn_end.store(NO_TURN, Relaxed);
        self.drained.store(false, Relaxed);
        self.used_up.load(Relaxed).then(|| self.next_turn())
    }

    /// The queue that the connection's turns come from.
    pub(super) fn turns(&self) -> &Turns {
        &self.turns
    }

    /// Queues the connection for a turn.
    pub(crate) fn next_turn(&self) -> NextTurn {
        self.turns.next()
    }

    /// Records that work is left to the next turn, and wakes the task at once.
    pub(super) fn use_up_turn(&self, cx: &Context<'_>) {
        self.used_up.store(true, Relaxed);
        cx.waker().wake_by_ref();
    }

    /// Returns `Pending`, and wakes the task at once, when the calls of the connection have used up their turn.
    pub(super) fn poll_turn(&self, cx: &Context<'_>) -> Poll<()> {
        let over = self.is_turn_over();
        self.free_frames.store(if over { 0 } else { FREE_FRAMES }, Relaxed);
        if !over {
            return Poll::Ready(());
        }
        self.use_up_turn(cx);
        Poll::Pending
    }

    /// Does the same for each frame of a reply. Reads the clock only after [`FREE_FRAMES`], because [`Self::poll_turn`] has
    /// just read it.
    pub(super) fn poll_turn_of_frame(&self, cx: &Context<'_>) -> Poll<()> {
        match self.free_frames.load(Relaxed).checked_sub(1) {
            Some(left) => {
                self.free_frames.store(left, Relaxed);
                Poll::Ready(())
            }
            None => self.poll_turn(cx),
        }
    }

    pub(super) fn has_turn(&self) -> bool {
        self.turn.load(Relaxed) > 0 && !self.is_turn_over()
    }

    fn is_turn_over(&self) -> bool {
        let end = self.turn_end.load(Relaxed);
        end != NO_TURN && nanoseconds(self.created.elapsed()) >= end
    }

    /// Records that a read of the socket was pending. Outside a turn, as in the handshake, nothing is recorded, because no
    /// next turn would reset it.
    pub(super) fn set_drained(&self) {
        self.drained.store(self.turn_end.load(Relaxed) != NO_TURN, Relaxed);
    }

    pub(super) fn is_drained(&self) -> bool {
        self.drained.load(Relaxed)
    }

    /// Closes the connection if it holds more than [`UNAUTHENTICATED_BYTES`] and none of its calls was accepted. Must be
    /// called after calls have begun: a caller may send more than the limit before the server handles its first call.
    pub(super) fn check_unauthenticated(&self) {
        if !self.is_authenticated() && self.state().ledger.held() > UNAUTHENTICATED_BYTES {
            self.registry.close_one(&self.connection, CloseReason::UnauthenticatedBytes);
        }
    }
}

/// The process-wide budget.
impl Account {
    /// Returns whether the connection may take more memory now. It may not if it has reserved more than [`SMALL`] bytes
    /// while connections that were closed for the budget have not freed their memory yet.
    pub(super) fn may_grow(&self) -> bool {
        self.registry.is_within_budget() || self.state().reserved <= SMALL
    }

    /// Completes when [`may_grow`](Self::may_grow) may return a different result.
    pub(super) fn within_budget(&self) -> OwnedNotified {
        self.registry.within_budget()
    }
}

/// The connection and its handlers hold the account until the memory that it counts is freed.
impl Drop for Account {
    fn drop(&mut self) {
        self.registry.release(&self.connection);
    }
}

/// Frames and calls.
impl Account {
    /// Charges the frames that `find` finds in the bytes from the peer.
    pub(super) fn received(&self, find: impl FnOnce(&mut dyn FnMut(FrameHeader))) {
        let mut state = self.state();
        let mut turn = self.turn.load(Relaxed);
        let mut flood = false;
        find(&mut |frame| {
            turn = turn.saturating_sub(match frame.kind {
                HEADERS => TURN_HEADERS,
                SETTINGS if state.ledger.has_streams() => TURN_SETTINGS,
                _ => 1,
            });
            if frame.kind == SETTINGS && !frame.is_ack() {
                flood |= !state.settings.take(self.registry.now());
            }
            state.ledger.received(frame);
        });
        if !self.is_authenticated() && state.ledger.held() > UNAUTHENTICATED_BYTES {
            turn = 0;
        }
        self.turn.store(turn, Relaxed);
        self.update_reservation(state);
        if flood {
            self.registry.close_one(&self.connection, CloseReason::SettingsFlood);
        }
    }

    /// Releases the frames that `find` finds in the bytes sent to the peer.
    pub(super) fn sent(&self, find: impl FnOnce(&mut dyn FnMut(FrameHeader))) {
        let mut state = self.state();
        find(&mut |frame| state.ledger.sent(frame));
        self.update_reservation(state);
    }

    /// Records the start of a call whose headers take `headers` bytes.
    pub(super) fn call_accepted(&self, stream: u32, headers: usize) {
        self.connection.call_begins();
        self.change(|ledger| ledger.call_accepted(stream, headers));
    }

    /// Records that a handler has read `length` bytes of a request body, and keeps `kept` bytes until it reads more.
    pub(super) fn body_read(&self, stream: u32, length: usize, kept: usize) {
        // The bytes of an unauthenticated caller stay charged until its call ends, even if nothing holds them any more.
        if self.is_authenticated() {
            self.change(|ledger| ledger.body_read(stream, length, kept));
        }
    }

    /// Records that the handler stopped reading the request body.
    pub(super) fn body_dropped(&self, stream: u32) {
        self.change(|ledger| ledger.body_dropped(stream));
    }

    /// Records that `length` bytes of a reply are queued.
    pub(super) fn reply_queued(&self, stream: u32, length: usize) {
        self.change(|ledger| ledger.reply_queued(stream, length));
    }

    /// Records that the handler of a call keeps `bytes` until the call ends.
    pub(super) fn handler_holds(&self, stream: u32, bytes: usize) {
        self.change(|ledger| ledger.handler_holds(stream, bytes));
    }

    /// Records that the handler of a call has written all it can for now.
    pub(super) fn handler_waits(&self, stream: u32) {
        self.change(|ledger| ledger.handler_waits(stream));
    }

    /// Records the end of a call. Its queued bytes are still to be sent if `handed_over`; otherwise the stream is reset.
    pub(super) fn call_ended(&self, stream: u32, handed_over: bool) {
        self.connection.call_ends();
        if !self.is_authenticated() {
            self.connection.set_active(self.registry.now());
        }
        self.change(|ledger| ledger.call_ended(stream, handed_over));
    }

    fn change(&self, change: impl FnOnce(&mut Ledger)) {
        let mut state = self.state();
        change(&mut state.ledger);
        self.update_reservation(state);
    }

    /// Adapts the reservation to the bytes held, in steps of [`STEP`].
    fn update_reservation(&self, mut state: MutexGuard<'_, AccountState>) {
        let (held, reserved) = (state.ledger.held(), state.reserved);
        if held <= reserved && held + 2 * STEP > reserved {
            return;
        }
        let reserved = held.next_multiple_of(STEP);
        state.reserved = reserved;
        drop(state);
        self.registry.reserve(&self.connection, reserved);
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    duration.as_nanos().try_into().unwrap_or(u64::MAX)
}
