use std::{collections::VecDeque, sync::Arc, time::Duration};

use hdrhistogram::Histogram;
use kelvin_proto::CallType;
use opentelemetry::{
    Context,
    trace::{SpanKind, Status},
};
use opentelemetry_sdk::{
    error::OTelSdkResult,
    trace::{Span, SpanData, SpanProcessor},
};
use parking_lot::{Mutex, MutexGuard};

use super::trace::Trace;

/// The prefix of the names of spans of calls on the client side (gRFC A72).
const SENT: &str = "Sent.";
/// Traces that are kept until their last span has ended.
const MAX_TRACES: usize = 256;

/// Counts the clients' calls and keeps the latest trace, from the spans of both sides.
#[derive(Debug, Clone, Default)]
pub(super) struct Recorder(Arc<Mutex<Recorded>>);

#[derive(Debug, Default)]
struct Recorded {
    calls: [Calls; CallType::ALL.len()],
    traces: VecDeque<Trace>,
}

/// The calls of one type that have ended.
#[derive(Debug, Clone)]
pub(super) struct Calls {
    pub(super) count: u64,
    pub(super) errors: u64,
    /// In nanoseconds.
    latency: Histogram<u64>,
}

impl Recorder {
    /// In the order of [`CallType::ALL`].
    pub(super) fn calls(&self) -> [Calls; CallType::ALL.len()] {
        self.lock().calls.clone()
    }

    /// Returns the latest complete trace of a call by a client.
    pub(super) fn latest(&self) -> Option<Trace> {
        let recorded = self.lock();
        let complete = |trace: &&Trace| trace.root().is_some_and(|root| call_type(root).is_some());
        recorded.traces.iter().rev().find(complete).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, Recorded> {
        self.0.lock()
    }
}

impl SpanProcessor for Recorder {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        let mut recorded = self.lock();
        if let Some(call_type) = call_type(&span) {
            recorded.calls[call_type as usize].record(&span);
        }
        let id = Some(span.span_context.trace_id());
        let known = recorded.traces.iter_mut().rev().find(|trace| trace.id() == id);
        if let Some(trace) = known {
            trace.push(span);
            return;
        }
        let mut trace = Trace::default();
        trace.push(span);
        if recorded.traces.len() == MAX_TRACES {
            recorded.traces.pop_front();
        }
        recorded.traces.push_back(trace);
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

/// Returns the call type of this span, if it is the client span of a whole call.
fn call_type(span: &SpanData) -> Option<CallType> {
    let method = span.name.strip_prefix(SENT).filter(|_| span.span_kind == SpanKind::Client)?;
    CallType::ALL.into_iter().find(|kind| kind.path()[1..].split('/').eq(method.split('.')))
}

impl Calls {
    fn record(&mut self, span: &SpanData) {
        self.count += 1;
        self.errors += u64::from(matches!(span.status, Status::Error { .. }));
        let latency = span.end_time.duration_since(span.start_time).unwrap_or_default();
        self.latency.saturating_record(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Returns a quantile of the latency in milliseconds; 0 without calls.
    pub(super) fn quantile(&self, quantile: f64) -> f64 {
        self.latency.value_at_quantile(quantile) as f64 / 1e6
    }
}

impl Default for Calls {
    fn default() -> Self {
        // From a microsecond to an hour.
        let latency = Histogram::new_with_bounds(1000, 3_600_000_000_000, 3).expect("the bounds are valid");
        Self { count: 0, errors: 0, latency }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::test_span::span;

    #[test]
    fn client_spans_are_counted_as_calls() {
        let recorder = Recorder::default();
        let mut failed = span("Sent.SensorService.SensorChat", SpanKind::Client, 3, 0, (0, 5));
        failed.status = Status::error("UNAVAILABLE");
        for span in [
            span("Recv.SensorService.SendSingleReading", SpanKind::Server, 2, 1, (1, 3)),
            span("Sent.SensorService.SendSingleReading", SpanKind::Client, 1, 0, (0, 4)),
            span("Sent.SensorService.ListSensors", SpanKind::Client, 4, 0, (0, 4)),
            failed,
        ] {
            recorder.on_end(span);
        }
        let calls = recorder.calls();
        assert_eq!(
            calls.each_ref().map(|calls| (calls.count, calls.errors)),
            [(1, 0), (0, 0), (0, 0), (1, 1)]
        );
        assert!((calls[0].quantile(0.99) - 4.0).abs() < 0.01);
        assert_eq!(recorder.latest().unwrap().tree().len(), 2);
    }
}
