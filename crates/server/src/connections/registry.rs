//! The open connections of the process and the budget that they share.
//!
//! Lock order: the state of an account, then `Registry::open`, then a reservation.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{Notify, futures::OwnedNotified};

use super::state::{ConnectionState, Reservation};
use crate::{
    config::Config,
    log_rate_limiter::LogRateLimiter,
    metrics::{CloseReason, ConnectionRefusal, Metrics},
};

static LIMIT_LOG: LogRateLimiter = LogRateLimiter::new();
static CLOSE_LOG: LogRateLimiter = LogRateLimiter::new();

/// The limits for all connections together.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    connections: usize,
    /// Connections without an authenticated call, including those in the TLS handshake.
    unauthenticated_connections: usize,
    unauthenticated_idle: Duration,
    /// Bytes that all connections may hold.
    bytes: usize,
    /// Bytes that unauthenticated connections may hold, as a part of `bytes`.
    unauthenticated_bytes: usize,
}

impl Limits {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            connections: config.max_connections.get(),
            unauthenticated_connections: config.max_unauthenticated_connections.get(),
            unauthenticated_idle: config.unauthenticated_idle_timeout,
            bytes: config.connection_memory_limit.0,
            unauthenticated_bytes: config.unauthenticated_memory_limit.0,
        }
    }
}

/// The open connections. A connection that has to close is removed at once.
#[derive(Debug)]
pub(crate) struct Registry {
    limits: Limits,
    metrics: Arc<Metrics>,
    open: Mutex<HashMap<u64, Arc<ConnectionState>>>,
    next_id: AtomicU64,
    unauthenticated: AtomicUsize,
    /// Bytes reserved by the open connections.
    held: AtomicUsize,
    held_unauthenticated: AtomicUsize,
    /// Bytes reserved by the open connections, and by closing ones until their last call has ended.
    in_memory: AtomicUsize,
    /// Notified when `in_memory` is within the budget again.
    within_budget: Arc<Notify>,
    started: Instant,
}

impl Registry {
    pub(crate) fn new(limits: Limits, metrics: Arc<Metrics>) -> Self {
        Self {
            limits,
            metrics,
            open: Mutex::default(),
            next_id: AtomicU64::new(0),
            unauthenticated: AtomicUsize::new(0),
            held: AtomicUsize::new(0),
            held_unauthenticated: AtomicUsize::new(0),
            in_memory: AtomicUsize::new(0),
            within_budget: Arc::default(),
            started: Instant::now(),
        }
    }

    /// Admits a connection. At a limit, closes an unauthenticated one instead; returns `None` if there is none.
    pub(crate) fn admit(self: &Arc<Self>) -> Option<Admitted> {
        let mut open = self.lock();
        let full = open.len() >= self.limits.connections;
        if (full || self.unauthenticated.load(Relaxed) >= self.limits.unauthenticated_connections)
            && !self.displace(&mut open)
        {
            drop(open);
            self.refuse_at_limit();
            return None;
        }
        let id = self.next_id.fetch_add(1, Relaxed);
        let state = Arc::new(ConnectionState::new(id, self.now()));
        open.insert(id, Arc::clone(&state));
        self.unauthenticated.fetch_add(1, Relaxed);
        self.metrics.connection_opened();
        Some(Admitted { registry: Arc::clone(self), state })
    }

    /// Closes an unauthenticated connection. For a process that reaches its limit on open files before its limit on
    /// connections.
    pub(crate) fn make_room(&self) {
        self.displace(&mut self.lock());
    }

    fn refuse_at_limit(&self) {
        self.metrics.connection_refused(ConnectionRefusal::Limit);
        if let Some(connections) = LIMIT_LOG.record() {
            tracing::warn!(
                connections,
                limit = self.limits.connections,
                "connections refused: KELVIN_MAX_CONNECTIONS is reached and all connections are authenticated"
            );
        }
    }

    /// Closes the unauthenticated connection that has been idle longest or, if none is idle, the newest one, so that earlier
    /// callers keep their open calls (Health/Watch). Returns false if all are authenticated.
    fn displace(&self, open: &mut HashMap<u64, Arc<ConnectionState>>) -> bool {
        let unauthenticated = || open.values().filter(|connection| !connection.is_authenticated());
        let idle = unauthenticated().filter(|connection| connection.is_idle());
        let victim = idle
            .min_by_key(|connection| connection.last_active())
            .or_else(|| unauthenticated().max_by_key(|connection| connection.id()));
        let Some(victim) = victim.cloned() else { return false };
        self.close(open, &victim, CloseReason::Displaced);
        true
    }

    /// Removes a connection and requests it to close.
    fn close(
        &self,
        open: &mut HashMap<u64, Arc<ConnectionState>>,
        connection: &Arc<ConnectionState>,
        reason: CloseReason,
    ) {
        self.remove(open, connection);
        if connection.request_close(reason) {
            self.metrics.connection_closed_early(reason);
            if let Some(connections) = CLOSE_LOG.record() {
                tracing::warn!(
                    connections,
                    last_reason = reason.as_str(),
                    "connections closed by the server"
                );
            }
        }
    }

    fn remove(&self, open: &mut HashMap<u64, Arc<ConnectionState>>, connection: &ConnectionState) {
        if open.remove(&connection.id()).is_none() {
            return;
        }
        let mut reservation = connection.reservation();
        if !reservation.authenticated {
            self.unauthenticated.fetch_sub(1, Relaxed);
        }
        self.held.fetch_sub(reservation.bytes, Relaxed);
        if !reservation.authenticated {
            self.held_unauthenticated.fetch_sub(reservation.bytes, Relaxed);
        }
        reservation.closed = true;
    }

    /// Releases the reservation of a connection whose memory has all been freed.
    pub(super) fn release(&self, connection: &ConnectionState) {
        let mut reservation = connection.reservation();
        if reservation.closed {
            self.freed(std::mem::take(&mut reservation.bytes));
        } else {
            self.adjust(&mut reservation, 0);
        }
    }

    pub(super) fn close_one(&self, connection: &ConnectionState, reason: CloseReason) {
        let mut open = self.lock();
        if let Some(connection) = open.get(&connection.id()).cloned() {
            self.close(&mut open, &connection, reason);
        }
    }

    /// Sets the number of bytes that a connection has reserved. Above a limit, the largest connections are closed.
    pub(super) fn reserve(&self, connection: &ConnectionState, bytes: usize) {
        {
            let mut reservation = connection.reservation();
            if reservation.closed {
                return;
            }
            self.adjust(&mut reservation, bytes);
        }
        if self.held_unauthenticated.load(Relaxed) > self.limits.unauthenticated_bytes
            || self.held.load(Relaxed) > self.limits.bytes
        {
            self.shed();
        }
    }

    /// Records that the peer of a connection is authenticated.
    pub(super) fn authenticated(&self, connection: &ConnectionState) {
        let mut reservation = connection.reservation();
        if reservation.authenticated {
            return;
        }
        reservation.authenticated = true;
        if !reservation.closed {
            self.unauthenticated.fetch_sub(1, Relaxed);
            self.held_unauthenticated.fetch_sub(reservation.bytes, Relaxed);
        }
    }

    fn adjust(&self, reservation: &mut Reservation, bytes: usize) {
        let change = |counter: &AtomicUsize| {
            // Wraps around, and so subtracts, if less is reserved than before.
            counter.fetch_add(bytes.wrapping_sub(reservation.bytes), Relaxed);
        };
        change(&self.held);
        if !reservation.authenticated {
            change(&self.held_unauthenticated);
        }
        match reservation.bytes.checked_sub(bytes) {
            Some(less) => self.freed(less),
            None => change(&self.in_memory),
        }
        reservation.bytes = bytes;
    }

    fn freed(&self, bytes: usize) {
        let before = self.in_memory.fetch_sub(bytes, Relaxed);
        if before > self.limits.bytes && before - bytes <= self.limits.bytes {
            self.within_budget.notify_waiters();
        }
    }

    /// Returns whether the connections, including closing ones, hold no more than the budget.
    pub(super) fn is_within_budget(&self) -> bool {
        self.in_memory.load(Relaxed) <= self.limits.bytes
    }

    /// Completes when the memory next falls within the budget.
    pub(super) fn within_budget(&self) -> OwnedNotified {
        Arc::clone(&self.within_budget).notified_owned()
    }

    /// Closes the largest connections until the limits on memory are kept.
    fn shed(&self) {
        let mut open = self.lock();
        let mut close_largest = |authenticated_too: bool| {
            let reserved =
                open.values().filter(|connection| authenticated_too || !connection.is_authenticated());
            let largest = reserved.max_by_key(|connection| connection.reservation().bytes).cloned();
            if let Some(largest) = &largest {
                self.close(&mut open, largest, CloseReason::Budget);
            }
            largest.is_some()
        };
        while self.held_unauthenticated.load(Relaxed) > self.limits.unauthenticated_bytes {
            if !close_largest(false) {
                break;
            }
        }
        while self.held.load(Relaxed) > self.limits.bytes {
            if !close_largest(true) {
                break;
            }
        }
    }

    /// Closes unauthenticated connections that are idle for too long, until the future is dropped.
    pub(crate) async fn close_idle(self: Arc<Self>) {
        let limit = self.limits.unauthenticated_idle;
        let tick = (limit / 10).clamp(Duration::from_millis(10), Duration::from_secs(1));
        let mut ticks = tokio::time::interval(tick);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let before = self.now().saturating_sub(millis(limit));
            let mut open = self.lock();
            let idle: Vec<_> = open
                .values()
                .filter(|connection| {
                    !connection.is_authenticated()
                        && connection.is_idle()
                        && connection.last_active() < before
                })
                .cloned()
                .collect();
            for connection in idle {
                self.close(&mut open, &connection, CloseReason::Idle);
            }
        }
    }

    /// Returns the milliseconds since the start, counted from 1.
    pub(super) fn now(&self) -> u64 {
        millis(self.started.elapsed()) + 1
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Arc<ConnectionState>>> {
        self.open.lock()
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX / 2)
}

/// An admitted connection. It counts towards the limits until this is dropped.
#[derive(Debug)]
pub(crate) struct Admitted {
    registry: Arc<Registry>,
    state: Arc<ConnectionState>,
}

impl Admitted {
    pub(super) fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    pub(super) fn state(&self) -> &Arc<ConnectionState> {
        &self.state
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.registry.remove(&mut self.registry.lock(), &self.state);
        self.registry.metrics.connection_closed();
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Waker};

    use super::*;
    use crate::connections::{account::Account, backpressure::Backpressure, turns::Turns};

    fn registry(connections: usize, unauthenticated: usize, bytes: usize) -> Arc<Registry> {
        let limits = Limits {
            connections,
            unauthenticated_connections: unauthenticated,
            unauthenticated_idle: Duration::from_mins(1),
            bytes,
            unauthenticated_bytes: bytes / 2,
        };
        let metrics = Metrics::new(&opentelemetry::global::meter("test"), connections);
        Arc::new(Registry::new(limits, Arc::new(metrics)))
    }

    fn totals(registry: &Registry) -> (usize, usize, usize) {
        (
            registry.unauthenticated.load(Relaxed),
            registry.held.load(Relaxed),
            registry.held_unauthenticated.load(Relaxed),
        )
    }

    impl Admitted {
        fn authenticate(&self) {
            assert!(self.state.authenticate());
            self.registry.authenticated(&self.state);
        }
    }

    fn three_authenticated(registry: &Arc<Registry>) -> Vec<Admitted> {
        let all: Vec<_> = (0..3).map(|_| registry.admit().unwrap()).collect();
        for admitted in &all {
            admitted.authenticate();
        }
        all
    }

    #[test]
    fn totals_follow_connections_that_authenticate_and_end() {
        let registry = registry(10, 10, 1 << 20);
        let (first, second) = (registry.admit().unwrap(), registry.admit().unwrap());
        registry.reserve(&first.state, 4096);
        registry.reserve(&second.state, 8192);
        assert_eq!(totals(&registry), (2, 12_288, 12_288));
        second.authenticate();
        assert_eq!(totals(&registry), (1, 12_288, 4096));
        registry.reserve(&first.state, 0);
        assert_eq!(totals(&registry), (1, 8192, 0));
        drop((first, second));
        assert_eq!(totals(&registry), (0, 0, 0));
    }

    #[test]
    fn largest_connection_beyond_budget_is_closed_and_uncounted() {
        let registry = registry(10, 10, 1 << 20);
        let all = three_authenticated(&registry);
        registry.reserve(&all[0].state, 300 << 10);
        registry.reserve(&all[1].state, 500 << 10);
        registry.reserve(&all[2].state, 400 << 10);
        let closing: Vec<_> = all.iter().map(|admitted| admitted.state.closing()).collect();
        assert_eq!(closing, [None, Some(CloseReason::Budget), None]);
        registry.reserve(&all[1].state, 900 << 10);
        assert_eq!(totals(&registry), (0, 700 << 10, 0));
    }

    #[test]
    fn unauthenticated_connections_have_a_share_of_the_budget() {
        let registry = registry(10, 10, 1 << 20);
        let all: Vec<_> = (0..3).map(|_| registry.admit().unwrap()).collect();
        all[0].authenticate();
        registry.reserve(&all[0].state, 400 << 10);
        registry.reserve(&all[1].state, 300 << 10);
        registry.reserve(&all[2].state, 301 << 10);
        let closing: Vec<_> = all.iter().map(|admitted| admitted.state.closing()).collect();
        assert_eq!(closing, [None, None, Some(CloseReason::Budget)]);
    }

    #[test]
    fn only_unauthenticated_connections_are_displaced() {
        let registry = registry(2, 10, 1 << 20);
        let (first, second) = (registry.admit().unwrap(), registry.admit().unwrap());
        second.authenticate();
        let third = registry.admit().expect("the first is displaced");
        assert_eq!(first.state.closing(), Some(CloseReason::Displaced));
        third.authenticate();
        assert!(registry.admit().is_none());
        drop(first);
        assert!(registry.admit().is_none());
        drop(second);
        assert!(registry.admit().is_some());
    }

    #[test]
    fn large_connection_waits_until_closed_ones_free_memory() {
        let registry = registry(10, 10, 1 << 20);
        let all = three_authenticated(&registry);
        let account = |index: usize, bytes| {
            let account = Account::new(&all[index], Turns::new().0);
            account.call_accepted(1, bytes);
            account
        };
        let (large, small, closed) = (account(0, 300 << 10), account(1, 1), account(2, 800 << 10));
        assert_eq!(all[2].state.closing(), Some(CloseReason::Budget));
        let mut backpressure = Backpressure::default();
        let mut cx = Context::from_waker(Waker::noop());
        assert!(backpressure.poll_may_grow(&large, &mut cx).is_pending());
        assert!(small.may_grow());
        drop(closed);
        assert!(backpressure.poll_may_grow(&large, &mut cx).is_ready());
    }

    #[test]
    fn calls_wait_for_the_next_turn_only_while_there_is_one() {
        let registry = registry(10, 10, 1 << 20);
        let admitted = registry.admit().unwrap();
        let account = Account::new(&admitted, Turns::new().0);
        let cx = Context::from_waker(Waker::noop());
        account.begin_turn();
        while account.poll_turn(&cx).is_ready() {}
        assert!(!account.has_turn());
        assert!(account.poll_turn_of_frame(&cx).is_pending());
        account.end_turn();
        assert!(account.poll_turn(&cx).is_ready());
        account.begin_turn();
        while account.poll_turn_of_frame(&cx).is_ready() {}
        assert!(!account.has_turn());
    }

    #[test]
    fn drained_socket_is_read_again_next_turn_or_outside_turns() {
        let registry = registry(10, 10, 1 << 20);
        let admitted = registry.admit().unwrap();
        let account = Account::new(&admitted, Turns::new().0);
        account.set_drained();
        assert!(!account.is_drained());
        for _ in 0..2 {
            account.begin_turn();
            assert!(!account.is_drained());
            account.set_drained();
            account.begin_turn_of_calls();
            assert!(account.is_drained());
        }
        account.end_turn();
        assert!(!account.is_drained());
    }
}
