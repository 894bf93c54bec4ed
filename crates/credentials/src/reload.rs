//! A value built from files, rebuilt when they change.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use opentelemetry::metrics::Meter;
use parking_lot::Mutex;
use tokio::{sync::watch, time::MissedTickBehavior};

use crate::{
    TlsError,
    file::{Event, Expiry, Reload},
    report::Reporter,
};

/// The files that a value is built from.
pub(crate) trait Source: Send + 'static {
    type Snapshot: Send + Sync + 'static;

    /// Builds the value from the last valid content of the files.
    fn snapshot(&self) -> Result<Arc<Self::Snapshot>, TlsError>;

    fn files(&mut self) -> Vec<&mut dyn Reload>;
}

/// The latest value built from a [`Source`].
pub(crate) struct Reloadable<S: Source> {
    source: Mutex<S>,
    snapshot: ArcSwap<S::Snapshot>,
    changes: watch::Sender<()>,
}

impl<S: Source> Reloadable<S> {
    pub(crate) fn new(source: S) -> Result<Arc<Self>, TlsError> {
        let snapshot = ArcSwap::new(source.snapshot()?);
        Ok(Arc::new(Self { source: Mutex::new(source), snapshot, changes: watch::Sender::new(()) }))
    }

    pub(crate) fn current(&self) -> Arc<S::Snapshot> {
        self.snapshot.load_full()
    }

    /// Reads the value without changing its reference count, which all threads would contend for.
    pub(crate) fn peek<T>(&self, look: impl FnOnce(&S::Snapshot) -> T) -> T {
        look(&self.snapshot.load())
    }

    /// Notifies of each change.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    /// Reloads every `interval` and reports changes in logs and metrics; never completes.
    pub(crate) fn watch(
        self: &Arc<Self>,
        interval: Duration,
        meter: &Meter,
    ) -> impl Future<Output = ()> + Send + use<S> {
        self.watch_with(interval, meter, |_| {})
    }

    /// Does the same as [`watch`](Self::watch) and calls `changed` with each new value.
    pub(crate) fn watch_with<F: FnMut(Arc<S::Snapshot>) + Send>(
        self: &Arc<Self>,
        interval: Duration,
        meter: &Meter,
        mut changed: F,
    ) -> impl Future<Output = ()> + Send + use<S, F> {
        let purposes = self.source.lock().files().iter().map(|file| file.purpose()).collect();
        let mut reporter = Reporter::new(meter, purposes);
        let this = Arc::clone(self);
        async move {
            let mut ticks = tokio::time::interval(interval.max(Duration::from_millis(1)));
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                let reload = {
                    let this = Arc::clone(&this);
                    move || this.reload()
                };
                // A file system that hangs must not block the runtime.
                let Ok((events, expiries)) = tokio::task::spawn_blocking(reload).await else { continue };
                let loaded = events.iter().any(|event| event.result.is_ok());
                for event in events {
                    reporter.changed(event);
                }
                for expiry in &expiries {
                    reporter.expires(expiry);
                }
                if loaded {
                    changed(this.current());
                }
            }
        }
    }

    fn reload(&self) -> (Vec<Event>, Vec<Expiry>) {
        let mut source = self.source.lock();
        let events: Vec<_> = source.files().into_iter().filter_map(Reload::reload).collect();
        if events.iter().any(|event| event.result.is_ok()) {
            match source.snapshot() {
                Ok(snapshot) => {
                    self.snapshot.store(snapshot);
                    self.changes.send_replace(());
                }
                Err(error) => {
                    tracing::error!(%error, "certificate, key and CA are inconsistent; keeping the previous ones");
                }
            }
        }
        let expiries = source.files().into_iter().filter_map(|file| file.expiry()).collect();
        (events, expiries)
    }
}
