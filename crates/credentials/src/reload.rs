//! Something made of files, made anew when they change.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use arc_swap::ArcSwap;
use opentelemetry::metrics::Meter;
use tokio::time::MissedTickBehavior;

use crate::{
    TlsError,
    report::Reporter,
    watched::{Event, Expiry},
};

/// Files, each looked after by a [`Watched`](crate::watched::Watched), and what they make together.
pub(crate) trait Parts: Send + 'static {
    type Whole: Send + Sync + 'static;

    /// What the parts make.
    fn whole(&self) -> Result<Arc<Self::Whole>, TlsError>;

    /// Looks at the files again and takes over what is good.
    fn reload(&mut self) -> Vec<Event>;

    /// What the files are for.
    fn files(&self) -> Vec<&'static str>;

    /// When what is in use ends.
    fn expiries(&self) -> Vec<Expiry>;
}

/// The whole as the parts are at this moment.
pub(crate) struct Live<P: Parts> {
    parts: Mutex<P>,
    whole: ArcSwap<P::Whole>,
}

impl<P: Parts> Live<P> {
    pub(crate) fn new(parts: P) -> Result<Arc<Self>, TlsError> {
        let whole = ArcSwap::new(parts.whole()?);
        Ok(Arc::new(Self { parts: Mutex::new(parts), whole }))
    }

    pub(crate) fn current(&self) -> Arc<P::Whole> {
        self.whole.load_full()
    }

    /// Reloads every `interval` for ever, and says so in logs and metrics.
    pub(crate) fn watch(
        self: &Arc<Self>,
        interval: Duration,
        meter: &Meter,
    ) -> impl Future<Output = ()> + Send + use<P> {
        self.watch_for(interval, meter, |_| {})
    }

    /// The same for one who is told of each change that was taken over.
    pub(crate) fn watch_for<F: FnMut(Arc<P::Whole>) + Send>(
        self: &Arc<Self>,
        interval: Duration,
        meter: &Meter,
        mut changed: F,
    ) -> impl Future<Output = ()> + Send + use<P, F> {
        let mut reporter = Reporter::new(meter, self.parts().files());
        let live = Arc::clone(self);
        async move {
            let mut ticks = tokio::time::interval(interval.max(Duration::from_millis(1)));
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                let files = Arc::clone(&live);
                // A file system that hangs must not stop the runtime.
                let events = tokio::task::spawn_blocking(move || files.reload()).await.unwrap_or_default();
                let taken_over = events.iter().any(|event| event.result.is_ok());
                for event in events {
                    reporter.changed(event);
                }
                if taken_over {
                    changed(live.current());
                }
                for expiry in live.parts().expiries() {
                    reporter.ends(expiry);
                }
            }
        }
    }

    fn reload(&self) -> Vec<Event> {
        let mut parts = self.parts();
        let events = parts.reload();
        if events.iter().any(|event| event.result.is_ok()) {
            match parts.whole() {
                Ok(whole) => self.whole.store(whole),
                Err(error) => tracing::error!(%error, "good files do not go together"),
            }
        }
        events
    }

    fn parts(&self) -> MutexGuard<'_, P> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
