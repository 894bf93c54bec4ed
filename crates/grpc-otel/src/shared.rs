//! What all layers of one [`GrpcOtel`](crate::GrpcOtel) use.

use http::HeaderName;

#[cfg(feature = "metrics")]
use crate::metrics::Metrics;
use crate::names::{Filter, Semconv};
#[cfg(feature = "trace")]
use crate::trace::Tracing;

#[derive(Default)]
pub(crate) struct Shared {
    pub(crate) semconv: Semconv,
    /// Which methods are recorded.
    pub(crate) filter: Option<Filter>,
    /// Which methods of clients are named that do not come from generated code.
    pub(crate) client_methods: Option<Filter>,
    #[cfg(feature = "metrics")]
    pub(crate) metrics: Metrics,
    #[cfg(feature = "trace")]
    pub(crate) tracing: Tracing,
}

impl Shared {
    /// Returns whether calls of this method are recorded.
    pub(crate) fn records(&self, method: &str) -> bool {
        self.enabled() && self.filter.as_ref().is_none_or(|filter| filter(method))
    }

    /// Returns the headers that the propagator reads.
    pub(crate) fn propagated(&self) -> &[HeaderName] {
        #[cfg(feature = "trace")]
        return self.tracing.propagator.as_ref().map_or(&[], |propagator| propagator.fields());
        #[cfg(not(feature = "trace"))]
        &[]
    }

    /// Returns whether anything is recorded or passed on at all.
    pub(crate) fn enabled(&self) -> bool {
        #[cfg(feature = "metrics")]
        let metrics = self.metrics.meter.is_some();
        #[cfg(not(feature = "metrics"))]
        let metrics = false;
        #[cfg(feature = "trace")]
        let trace = self.tracing.enabled();
        #[cfg(not(feature = "trace"))]
        let trace = false;
        metrics || trace
    }
}
