//! Something made of files, made anew when they change.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use arc_swap::ArcSwap;
use opentelemetry::{KeyValue, metrics::Meter};
use tokio::time::MissedTickBehavior;

use crate::{
    TlsError,
    watched::{Event, Expiry},
};

/// What became of a change, as an attribute of metrics.
const OK: &str = "ok";
const REFUSED: &str = "refused";

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
        let reloads = meter
            .u64_counter("kelvin.reloads")
            .with_unit("{reload}")
            .with_description("Changes of certificates, CA bundles and token files, taken over or refused")
            .build();
        let expiry = meter
            .i64_gauge("kelvin.certificate.expiry")
            .with_unit("s")
            .with_description("When the certificate in use ends, in seconds since the Unix epoch")
            .build();
        let attributes = |file, word| [KeyValue::new("file", file), KeyValue::new("result", word)];
        // Prometheus sees no increase in a series that begins with its first event: they begin at 0.
        for file in self.parts().files() {
            for word in [OK, REFUSED] {
                reloads.add(0, &attributes(file, word));
            }
        }
        let live = Arc::clone(self);
        async move {
            let mut ticks = tokio::time::interval(interval.max(Duration::from_millis(1)));
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                let files = Arc::clone(&live);
                // A file system that hangs must not stop the runtime.
                let events = tokio::task::spawn_blocking(move || files.reload()).await.unwrap_or_default();
                for Event { file, result } in events {
                    reloads.add(1, &attributes(file, if result.is_ok() { OK } else { REFUSED }));
                    match result {
                        Ok(()) => tracing::info!(file, "reloaded"),
                        Err(error) => {
                            tracing::warn!(file, %error, "not reloaded; the last good one stays in use");
                        }
                    }
                }
                for Expiry { file, at } in live.parts().expiries() {
                    expiry.record(at, &[KeyValue::new("file", file)]);
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
