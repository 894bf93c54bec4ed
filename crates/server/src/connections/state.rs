use std::{
    future::poll_fn,
    sync::atomic::{
        AtomicBool, AtomicU8, AtomicU32, AtomicU64,
        Ordering::{AcqRel, Acquire, Relaxed},
    },
    task::{Context, Poll},
};

use futures_util::task::AtomicWaker;
use parking_lot::{Mutex, MutexGuard};

use crate::metrics::CloseReason;

/// The state of a connection that it shares with the registry: whether it is authenticated, idle or has to close, and its
/// reserved memory.
#[derive(Debug)]
pub(super) struct ConnectionState {
    id: u64,
    reservation: Mutex<Reservation>,
    authenticated: AtomicBool,
    open_calls: AtomicU32,
    last_active: AtomicU64,
    /// 0 while open, otherwise the [`CloseReason`]'s discriminant plus 1.
    closing: AtomicU8,
    waker: AtomicWaker,
}

/// The bytes that a connection has reserved from the process-wide budget.
#[derive(Debug, Default)]
pub(super) struct Reservation {
    pub(super) bytes: usize,
    pub(super) authenticated: bool,
    /// Whether the registry has removed the connection, after which it reserves nothing more.
    pub(super) closed: bool,
}

impl ConnectionState {
    /// Creates the state of an open connection. Here and in all methods, `now` is in milliseconds since a common start.
    pub(super) fn new(id: u64, now: u64) -> Self {
        Self {
            id,
            reservation: Mutex::default(),
            authenticated: AtomicBool::new(false),
            open_calls: AtomicU32::new(0),
            last_active: AtomicU64::new(now),
            closing: AtomicU8::new(0),
            waker: AtomicWaker::new(),
        }
    }

    pub(super) fn id(&self) -> u64 {
        self.id
    }

    pub(super) fn reservation(&self) -> MutexGuard<'_, Reservation> {
        self.reservation.lock()
    }

    pub(super) fn is_authenticated(&self) -> bool {
        self.authenticated.load(Relaxed)
    }

    /// Marks the peer as authenticated; returns false if it was already.
    pub(super) fn authenticate(&self) -> bool {
        !self.authenticated.swap(true, Relaxed)
    }

    pub(super) fn open_calls(&self) -> u32 {
        self.open_calls.load(Relaxed)
    }

    pub(super) fn call_begins(&self) {
        self.open_calls.fetch_add(1, Relaxed);
    }

    pub(super) fn call_ends(&self) {
        self.open_calls.fetch_sub(1, Relaxed);
    }

    pub(super) fn is_idle(&self) -> bool {
        self.open_calls() == 0
    }

    pub(super) fn last_active(&self) -> u64 {
        self.last_active.load(Relaxed)
    }

    pub(super) fn set_active(&self, now: u64) {
        self.last_active.store(now, Relaxed);
    }

    /// Requests the connection to close; returns false if that was requested before.
    pub(super) fn request_close(&self, reason: CloseReason) -> bool {
        let first = self.closing.compare_exchange(0, reason as u8 + 1, AcqRel, Relaxed).is_ok();
        self.waker.wake();
        first
    }

    pub(super) fn closing(&self) -> Option<CloseReason> {
        let index = usize::from(self.closing.load(Acquire)).checked_sub(1)?;
        CloseReason::ALL.get(index).copied()
    }

    /// Returns the reason as soon as the connection has to close.
    pub(super) fn poll_closing(&self, cx: &Context<'_>) -> Poll<CloseReason> {
        self.waker.register(cx.waker());
        self.closing().map_or(Poll::Pending, Poll::Ready)
    }

    /// Runs `work` unless the connection has to close.
    pub(super) async fn unless_closing<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut work = std::pin::pin!(work);
        poll_fn(|cx| match self.poll_closing(cx) {
            Poll::Ready(_) => Poll::Ready(None),
            Poll::Pending => work.as_mut().poll(cx).map(Some),
        })
        .await
    }
}
