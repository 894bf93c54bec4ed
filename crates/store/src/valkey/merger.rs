use std::{
    mem,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use opentelemetry::trace::{Span, SpanContext};
use tokio::{
    sync::{Notify, Semaphore, oneshot},
    task::yield_now,
    time::sleep,
};

use super::{
    Shared, alerts,
    alerts::Histories,
    flush,
    nodes::Nodes,
    pending::{Pending, Settled},
    spans,
};
use crate::Batch;

/// How long readings wait for others while at least as many are under way.
const WAIT: Duration = Duration::from_millis(10);
/// As many readings are not kept waiting.
const ENOUGH: usize = 16 * 1024;
/// Readings that wait or are under way at most; who brings more waits, and so slows its stream.
const ROOM: usize = 128 * 1024;
/// Flushes under way at most, each on its own connection where it waits for replicas or disk.
const FLIGHTS: usize = 8;

/// Merges the readings of all calls of a runtime into few script calls.
#[derive(Debug)]
pub(super) struct Merger {
    pending: Mutex<Pending>,
    room: Semaphore,
    flights: Arc<Semaphore>,
    /// Readings in them.
    under_way: AtomicUsize,
    /// There is something to send.
    news: Notify,
    /// A flush has come back, or so much is waiting that it may go.
    go: Notify,
}

impl Merger {
    pub(super) fn new() -> Self {
        Self {
            pending: Mutex::default(),
            room: Semaphore::new(ROOM),
            flights: Arc::new(Semaphore::new(FLIGHTS)),
            under_way: AtomicUsize::new(0),
            news: Notify::new(),
            go: Notify::new(),
        }
    }

    /// Hands a batch over and waits until it is settled.
    pub(super) async fn append(
        &self,
        shared: &Shared,
        batch: &Batch,
        sampled: Option<&SpanContext>,
    ) -> Result<Settled, oneshot::error::RecvError> {
        let room = u32::try_from(batch.len().min(ROOM)).unwrap_or(u32::MAX);
        let _room = self.room.acquire_many(room).await.expect("the room is never closed");
        let (settled, waiting) = {
            let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
            if pending.sampled.is_none() {
                pending.sampled = sampled.cloned();
            }
            (pending.add(&shared.keys, batch), pending.readings)
        };
        self.news.notify_one();
        if waiting >= self.enough() {
            self.go.notify_one();
        }
        settled.await
    }

    /// Sends what is pending, for ever: at once when nothing is under way, else when as much waits as is under way.
    /// So the store has work while the next flush gathers, and flushes neither shrink nor take turns with the store.
    pub(super) async fn run(self: Arc<Self>, shared: Arc<Shared>, nodes: Arc<Nodes>) {
        let histories = Arc::new(Histories::default());
        let mut lanes = (0..FLIGHTS).cycle();
        loop {
            self.news.notified().await;
            let since = Instant::now();
            // Who is ready to hand over may do so first.
            yield_now().await;
            while self.waiting() < self.enough() && since.elapsed() < WAIT {
                tokio::select! {
                    () = self.go.notified() => {}
                    () = sleep(WAIT.saturating_sub(since.elapsed())) => {}
                }
            }
            let flight = Arc::clone(&self.flights).acquire_owned().await.expect("flights are never closed");
            let mut pending = mem::take(&mut *self.pending.lock().unwrap_or_else(PoisonError::into_inner));
            if pending.items.is_empty() {
                continue;
            }
            let lane = lanes.next().unwrap_or_default();
            let lane = if nodes.settings().acknowledge == super::Acknowledge::Primary { 0 } else { lane };
            self.under_way.fetch_add(pending.readings, Relaxed);
            let (merger, shared, nodes, histories) =
                (Arc::clone(&self), Arc::clone(&shared), Arc::clone(&nodes), Arc::clone(&histories));
            tokio::spawn(async move {
                let span = shared.spans.flush(pending.sampled.as_ref(), pending.readings);
                flush::store(&shared, &nodes, lane, &mut pending).await;
                shared.availability.note(pending.failure());
                // Alerts are few; the store is to have other work meanwhile.
                merger.under_way.fetch_sub(pending.readings, Relaxed);
                merger.go.notify_one();
                alerts::find(&shared, &nodes, &histories, &mut pending).await;
                let flush = span.as_ref().map(|span| span.span_context().clone());
                spans::end(span, pending.failure(), None);
                pending.settle(flush);
                drop(flight);
            });
        }
    }

    /// So many readings go without waiting for more.
    fn enough(&self) -> usize {
        self.under_way.load(Relaxed).min(ENOUGH)
    }

    fn waiting(&self) -> usize {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner).readings
    }
}
