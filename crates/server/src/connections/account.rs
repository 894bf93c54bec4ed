//! The cost of one connection.
//!
//! ```text
//!             Metered (frame headers)         IncomingBody                 Call
//! peer ─TLS─▶ DATA, HEADERS: charge ──▶ h2 ──▶ read: release ──▶ handler ──▶ reply: charge ─▶ h2 ─▶ Metered: release ─▶ peer
//! ```
//!
//! A connection, its calls and its frames are on one thread, so the lock of the ledger is never waited for. What is
//! held goes to the budget of the process in steps, so that a small call touches nothing that threads share.

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
};
use crate::metrics::CloseReason;

/// Bytes in which the budget of the process is reserved.
const STEP: usize = 4096;

/// Bytes that an unauthenticated connection may hold.
const UNAUTHENTICATED_BYTES: usize = 128 * 1024;

/// Calls that an unauthenticated connection may have open.
const UNAUTHENTICATED_CALLS: u32 = 4;

/// Refused calls in a row that close an unauthenticated connection.
const REFUSED_CALLS: u32 = 100;

/// Bytes up to which a connection need not wait for the memory of others: well-behaved callers do not.
const SMALL: usize = 64 * 1024;

/// The budget of one poll of a connection: a frame costs 1, and one that starts a call or makes h2 visit every stream costs
/// more. Then other connections have their turn.
const TURN: u32 = 1024;
const TURN_HEADERS: u32 = 16;
const TURN_SETTINGS: u32 = 128;

/// How long a connection may read, and its calls may work afterwards, before others have their turn. A batch of readings or a
/// few frames of a reply that are already begun may exceed it.
const TURN_TIME: Duration = Duration::from_micros(200);

/// The end of a turn while the connection is not polled.
const NO_TURN: u64 = u64::MAX;

/// Frames of a reply after which a call looks at the clock again: the message and the trailers of a unary call.
const FREE_FRAMES: u32 = 2;

/// Accounts for the resources of a connection, and decides whether it may continue.
#[derive(Debug)]
pub(crate) struct Account {
    state: Arc<ConnectionState>,
    registry: Arc<Registry>,
    books: Mutex<Books>,
    refused_calls: AtomicU32,
    turn: AtomicU32,
    /// In nanoseconds since `created`, or [`NO_TURN`].
    turn_end: AtomicU64,
    free_frames: AtomicU32,
    /// A read of the socket was pending in this turn.
    drained: AtomicBool,
    created: Instant,
}

#[derive(Debug, Default)]
struct Books {
    ledger: Ledger,
    /// Bytes of the budget.
    reserved: usize,
    settings: SettingsRate,
}

impl Account {
    pub(crate) fn new(admitted: &Admitted) -> Self {
        Self {
            state: Arc::clone(admitted.state()),
            registry: Arc::clone(admitted.registry()),
            books: Mutex::default(),
            refused_calls: AtomicU32::new(0),
            turn: AtomicU32::new(TURN),
            turn_end: AtomicU64::new(NO_TURN),
            free_frames: AtomicU32::new(0),
            drained: AtomicBool::new(false),
            created: Instant::now(),
        }
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock()
    }
}

/// Authentication of the peer.
impl Account {
    pub(crate) fn is_authenticated(&self) -> bool {
        self.state.is_authenticated()
    }

    /// A call is accepted, or a client certificate was.
    pub(crate) fn authenticate(&self) {
        if self.state.authenticate() {
            self.registry.authenticated(&self.state);
        }
    }

    /// A call is refused. Gateways carry many callers: only connections without an accepted call are closed for it.
    pub(crate) fn refuse(&self) {
        if !self.is_authenticated() && self.refused_calls.fetch_add(1, Relaxed) + 1 >= REFUSED_CALLS {
            self.registry.close_one(&self.state, CloseReason::Refused);
        }
    }

    /// A call that needs no token is answered.
    pub(crate) fn answer(&self) {
        self.refused_calls.store(0, Relaxed);
    }

    /// Returns whether the call that begins may go on.
    pub(crate) fn admits_call(&self) -> bool {
        self.is_authenticated() || self.state.open_calls() <= UNAUTHENTICATED_CALLS
    }
}

/// Its end.
impl Account {
    pub(super) fn closing(&self) -> Option<CloseReason> {
        self.state.closing()
    }

    /// Ready when the connection has to close.
    pub(super) fn poll_closing(&self, cx: &Context<'_>) -> Poll<CloseReason> {
        self.state.poll_closing(cx)
    }

    /// Runs `work` unless the connection has to close.
    pub(crate) async fn unless_closing<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        self.state.unless_closing(work).await
    }
}

/// Its turn among the connections of a thread.
impl Account {
    pub(super) fn begin_turn(&self) {
        self.turn.store(TURN, Relaxed);
        self.drained.store(false, Relaxed);
        self.begin_turn_of_calls();
    }

    /// Starts the turn of the calls, after what the peer has sent is read.
    pub(super) fn begin_turn_of_calls(&self) {
        self.turn_end.store(nanoseconds(self.created.elapsed() + TURN_TIME), Relaxed);
    }

    /// Ends the turn. Until the next one nothing is limited: services that tonic provides read requests in tasks of their own.
    pub(super) fn end_turn(&self) {
        self.turn_end.store(NO_TURN, Relaxed);
        self.drained.store(false, Relaxed);
    }

    /// Pending, and to be polled again soon, when the calls of the connection have worked their turn.
    pub(super) fn poll_turn(&self, cx: &Context<'_>) -> Poll<()> {
        let over = self.is_turn_over();
        self.free_frames.store(if over { 0 } else { FREE_FRAMES }, Relaxed);
        if !over {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// The same for each frame of a reply. Looks at the clock only after some of them: [`Self::poll_turn`] just has.
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

    /// A read of the socket was pending. Outside of a turn, as in the handshake, that does not count: no next one begins.
    pub(super) fn set_drained(&self) {
        self.drained.store(self.turn_end.load(Relaxed) != NO_TURN, Relaxed);
    }

    pub(super) fn is_drained(&self) -> bool {
        self.drained.load(Relaxed)
    }

    /// Closes a connection that holds too much although none of its calls is accepted. To be called after calls
    /// are begun: a caller may send more than that before the server looks at its first one.
    pub(super) fn check_unauthenticated(&self) {
        if !self.is_authenticated() && self.books().ledger.held() > UNAUTHENTICATED_BYTES {
            self.registry.close_one(&self.state, CloseReason::UnauthenticatedBytes);
        }
    }
}

/// The budget of the process.
impl Account {
    /// Returns whether this connection may take more memory for now: not if it holds much already, and those that were
    /// closed for the budget have not given theirs back yet.
    pub(super) fn may_grow(&self) -> bool {
        self.registry.is_within_budget() || self.books().reserved <= SMALL
    }

    /// Completes when it may be worth asking again.
    pub(super) fn within_budget(&self) -> OwnedNotified {
        self.registry.within_budget()
    }
}

/// Handlers and the connection hold it until what it counts is freed.
impl Drop for Account {
    fn drop(&mut self) {
        self.registry.release(&self.state);
    }
}

/// Frames and calls.
impl Account {
    /// Charges the frames that `find` finds in what the peer has sent.
    pub(super) fn received(&self, find: impl FnOnce(&mut dyn FnMut(FrameHeader))) {
        let mut books = self.books();
        let mut turn = self.turn.load(Relaxed);
        let mut flood = false;
        find(&mut |frame| {
            turn = turn.saturating_sub(match frame.kind {
                HEADERS => TURN_HEADERS,
                SETTINGS if books.ledger.has_streams() => TURN_SETTINGS,
                _ => 1,
            });
            if frame.kind == SETTINGS && !frame.is_ack() {
                flood |= !books.settings.take(self.registry.now());
            }
            books.ledger.received(frame);
        });
        if !self.is_authenticated() && books.ledger.held() > UNAUTHENTICATED_BYTES {
            turn = 0;
        }
        self.turn.store(turn, Relaxed);
        self.settle(books);
        if flood {
            self.registry.close_one(&self.state, CloseReason::SettingsFlood);
        }
    }

    /// Releases the frames that `find` finds in what is sent.
    pub(super) fn sent(&self, find: impl FnOnce(&mut dyn FnMut(FrameHeader))) {
        let mut books = self.books();
        find(&mut |frame| books.ledger.sent(frame));
        self.settle(books);
    }

    /// A call begins whose headers take `headers` bytes.
    pub(super) fn call_accepted(&self, stream: u32, headers: usize) {
        self.state.call_begins();
        self.change(|ledger| ledger.call_accepted(stream, headers));
    }

    /// A handler has taken `length` bytes of a request, of which it keeps `kept` until more come.
    pub(super) fn body_read(&self, stream: u32, length: usize, kept: usize) {
        // What callers have sent who are not authenticated counts until their call ends, whoever keeps it.
        if self.is_authenticated() {
            self.change(|ledger| ledger.body_read(stream, length, kept));
        }
    }

    /// Nobody reads on.
    pub(super) fn body_dropped(&self, stream: u32) {
        self.change(|ledger| ledger.body_dropped(stream));
    }

    /// A reply of `length` bytes waits to be sent.
    pub(super) fn reply_queued(&self, stream: u32, length: usize) {
        self.change(|ledger| ledger.reply_queued(stream, length));
    }

    /// The handler of a call keeps `bytes` until the call ends.
    pub(super) fn handler_holds(&self, stream: u32, bytes: usize) {
        self.change(|ledger| ledger.handler_holds(stream, bytes));
    }

    /// The handler of a call has written all it can for now.
    pub(super) fn handler_waits(&self, stream: u32) {
        self.change(|ledger| ledger.handler_waits(stream));
    }

    /// A call has ended. What it has queued is still to be sent if `handed_over`, else the stream is reset.
    pub(super) fn call_ended(&self, stream: u32, handed_over: bool) {
        self.state.call_ends();
        if !self.is_authenticated() {
            self.state.set_active(self.registry.now());
        }
        self.change(|ledger| ledger.call_ended(stream, handed_over));
    }

    fn change(&self, change: impl FnOnce(&mut Ledger)) {
        let mut books = self.books();
        change(&mut books.ledger);
        self.settle(books);
    }

    /// Reserves what is held of the budget, in steps.
    fn settle(&self, mut books: MutexGuard<'_, Books>) {
        let (held, reserved) = (books.ledger.held(), books.reserved);
        if held <= reserved && held + 2 * STEP > reserved {
            return;
        }
        let reserved = held.next_multiple_of(STEP);
        books.reserved = reserved;
        drop(books);
        self.registry.reserve(&self.state, reserved);
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    duration.as_nanos().try_into().unwrap_or(u64::MAX)
}
