//! Decides when pending readings are sent.
//!
//! ```text
//!            first batch               enough, or MAX_BATCH_DELAY      a place in flight
//!   Idle ───────────────▶ Gathering ───────────────────▶ Ready ───────────────▶ InFlight (a task of its own)
//!    ▲                                                                             │
//!    └──────────────────────────── the loop continues at once ◀───────────────────┘
//! ```
//!
//! "Enough" is as many readings as are in flight (at most [`TARGET_FLUSH`]): nothing if no flush is in flight, so a
//! lone call is sent at once; while Valkey is busy, the next flush grows to the size of the one before, so that Valkey
//! has work while it gathers, and flushes neither shrink to single readings nor wait for each other in turn.
//!
//! What the ordering relies on:
//! - A reading is counted in `in_flight` before its flush is spawned and taken off when Valkey has answered, *before*
//!   alerts are evaluated: alerts are few, and Valkey should have other work meanwhile. The permit of [`MAX_IN_FLIGHT`]
//!   is kept until the calls are completed, which bounds the memory.
//! - Both `Notify`s store one permit, so a wake-up between a check and the wait for it is not lost. A stored permit may
//!   outlive what it announced: an empty flush is skipped.
//! - Back pressure: a call acquires room for its readings before it hands them over and gives it back when they are
//!   completed. A call that finds no room waits, and so does the stream that it reads.

use std::{
    mem,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use opentelemetry::trace::{Span, SpanContext};
use parking_lot::Mutex;
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot},
    task::yield_now,
    time::sleep,
};

use super::{
    super::{
        alerts::{self, Histories},
        cluster::Nodes,
        settings::Acknowledge,
        shared::Shared,
        spans,
    },
    flush,
    pending::{Completed, Pending},
};
use crate::Batch;

/// The maximum time that readings wait for others while a flush is in flight. With acknowledgement `fsync`, that flush may
/// take a second, which a single reading must not wait for.
const MAX_BATCH_DELAY: Duration = Duration::from_millis(10);
/// The number of readings from which a flush does not wait for more.
const TARGET_FLUSH: usize = 16 * 1024;
/// The maximum number of readings that are pending or in flight.
const MAX_READINGS: usize = 128 * 1024;
/// The maximum number of flushes in flight.
const MAX_IN_FLIGHT: usize = 8;

/// Merges the readings of all calls of a runtime into few script calls.
#[derive(Debug)]
pub(in crate::valkey) struct WriteCoalescer {
    pending: Mutex<Pending>,
    room: Semaphore,
    flushes: Arc<Semaphore>,
    /// Readings in flight.
    in_flight: AtomicUsize,
    /// A batch is pending.
    added: Notify,
    /// A flush has been answered, or enough is pending.
    ready: Notify,
}

impl WriteCoalescer {
    pub(in crate::valkey) fn new() -> Self {
        Self {
            pending: Mutex::default(),
            room: Semaphore::new(MAX_READINGS),
            flushes: Arc::new(Semaphore::new(MAX_IN_FLIGHT)),
            in_flight: AtomicUsize::new(0),
            added: Notify::new(),
            ready: Notify::new(),
        }
    }

    /// Hands a batch over and waits until it is completed.
    pub(in crate::valkey) async fn append(
        &self,
        shared: &Shared,
        batch: &Batch,
        sampled: Option<&SpanContext>,
    ) -> Result<Completed, oneshot::error::RecvError> {
        let room = u32::try_from(batch.len().min(MAX_READINGS)).unwrap_or(u32::MAX);
        let _room = self.room.acquire_many(room).await.expect("the semaphore is never closed");
        let (completed, waiting) = {
            let mut pending = self.pending.lock();
            if pending.sampled.is_none() {
                pending.sampled = sampled.cloned();
            }
            (pending.add(&shared.keys, batch), pending.readings)
        };
        self.added.notify_one();
        if waiting >= self.enough() {
            self.ready.notify_one();
        }
        completed.await
    }

    /// Sends what is pending until the task is aborted.
    pub(in crate::valkey) async fn run(self: Arc<Self>, shared: Arc<Shared>, nodes: Arc<Nodes>) {
        let histories = Arc::new(Histories::default());
        // `WAIT` blocks its connection, so flushes that wait have one each. Without a wait all share the first.
        let connections =
            if nodes.settings().acknowledge == Acknowledge::Primary { 1 } else { MAX_IN_FLIGHT };
        for connection_index in (0..connections).cycle() {
            let (permit, pending) = self.next_flush().await;
            self.in_flight.fetch_add(pending.readings, Relaxed);
            let (coalescer, shared, nodes, histories) =
                (Arc::clone(&self), Arc::clone(&shared), Arc::clone(&nodes), Arc::clone(&histories));
            tokio::spawn(async move {
                coalescer.flush(&shared, &nodes, &histories, connection_index, pending).await;
                drop(permit);
            });
        }
    }

    /// Waits until a flush may start and takes what is pending.
    async fn next_flush(&self) -> (OwnedSemaphorePermit, Pending) {
        loop {
            self.added.notified().await;
            self.wait_for_batch().await;
            // Before the pending readings are taken: those that come while all flushes are in flight join this one.
            let permit = Arc::clone(&self.flushes).acquire_owned().await.expect("never closed");
            let pending = mem::take(&mut *self.pending.lock());
            if !pending.items.is_empty() {
                return (permit, pending);
            }
        }
    }

    /// Waits until enough is pending for a flush, at most for [`MAX_BATCH_DELAY`].
    async fn wait_for_batch(&self) {
        let start = Instant::now();
        // Calls that are ready to hand over their batch do so before this one looks.
        yield_now().await;
        while self.pending.lock().readings < self.enough() && start.elapsed() < MAX_BATCH_DELAY {
            tokio::select! {
                () = self.ready.notified() => {}
                () = sleep(MAX_BATCH_DELAY.saturating_sub(start.elapsed())) => {}
            }
        }
    }

    async fn flush(
        &self,
        shared: &Shared,
        nodes: &Nodes,
        histories: &Histories,
        connection_index: usize,
        mut pending: Pending,
    ) {
        let span = shared.spans.flush(pending.sampled.as_ref(), pending.readings);
        flush::store(shared, nodes, connection_index, &mut pending).await;
        shared.availability.note(pending.failure());
        self.in_flight.fetch_sub(pending.readings, Relaxed);
        self.ready.notify_one();
        let found = alerts::find(shared, nodes, histories, &pending.stored()).await;
        pending.set_alerts(found);
        let flush = span.as_ref().map(|span| span.span_context().clone());
        spans::end(span, pending.failure(), None);
        pending.complete(flush);
    }

    /// Returns the number of pending readings that starts a flush without waiting for more.
    fn enough(&self) -> usize {
        self.in_flight.load(Relaxed).min(TARGET_FLUSH)
    }
}
