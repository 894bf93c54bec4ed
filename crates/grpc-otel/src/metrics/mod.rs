//! The instruments of gRFCs A66, A96 and A121, and those of OpenTelemetry's conventions.

mod instruments;
mod selection;
mod series;

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use http::{Extensions, HeaderMap};
use opentelemetry::{KeyValue, metrics::Meter};
use tonic::Code;

pub use self::selection::DurationMetrics;
pub(crate) use self::selection::Selection;
use self::{
    instruments::Instruments,
    series::{Distribution, Sum},
};
use crate::{
    attempts::Retries,
    message_counter::MessageCounter,
    names::{
        Attributes, ERROR_TYPE, Filter, OTHER, RPC_METHOD, RPC_OTHER, RPC_SYSTEM_NAME, SERVER_ADDRESS,
        SERVER_PORT,
    },
    side::Side,
    status::{self, CODES},
    target::Target,
};

/// Where measurements go, and the instruments once they are needed.
#[derive(Default)]
pub(crate) struct Metrics {
    pub(crate) meter: Option<Meter>,
    pub(crate) selection: Selection,
    /// Which targets are named.
    pub(crate) targets: Option<Filter>,
    pub(crate) labels: Option<Attributes>,
    server: OnceLock<Arc<Instruments>>,
    call: OnceLock<Arc<Instruments>>,
    attempt: OnceLock<Arc<Instruments>>,
}

impl Metrics {
    /// Returns what the application adds to the attributes of one call.
    pub(crate) fn labels(&self, headers: &HeaderMap, extensions: &Extensions) -> Option<Box<[KeyValue]>> {
        let labels = self.labels.as_ref().filter(|_| self.meter.is_some())?;
        Some(labels(headers, extensions).into())
    }

    pub(crate) fn of_method(
        &self,
        side: Side,
        target: Option<&Target>,
        method: &'static str,
        rpc_code: &'static str,
    ) -> MethodMetrics {
        MethodMetrics(self.instruments(side).map(|instruments| Series {
            instruments,
            side,
            grpc: self.grpc_attributes(target, method),
            rpc: rpc_attributes(target, method),
            rpc_code,
            started: OnceLock::new(),
            ended: [const { OnceLock::new() }; CODES],
        }))
    }

    fn instruments(&self, side: Side) -> Option<Arc<Instruments>> {
        let meter = self.meter.as_ref()?;
        let once = match side {
            Side::Server => &self.server,
            Side::Call => &self.call,
            Side::Attempt => &self.attempt,
        };
        Some(once.get_or_init(|| Arc::new(Instruments::new(side, meter, &self.selection))).clone())
    }

    fn grpc_attributes(&self, target: Option<&Target>, method: &'static str) -> Vec<KeyValue> {
        let named = |uri: &str| self.targets.as_ref().is_none_or(|named| named(uri));
        let target = target.map(|Target { uri, .. }| if named(uri) { uri.clone() } else { OTHER.into() });
        let target = target.map(|target| KeyValue::new("grpc.target", target));
        [KeyValue::new("grpc.method", method)].into_iter().chain(target).collect()
    }
}

fn rpc_attributes(target: Option<&Target>, method: &'static str) -> Vec<KeyValue> {
    let method = if method == OTHER { RPC_OTHER } else { method };
    let address = target.map(|target| KeyValue::new(SERVER_ADDRESS, target.address.clone()));
    let port = target.and_then(|target| target.port).map(|port| KeyValue::new(SERVER_PORT, i64::from(port)));
    [KeyValue::new(RPC_SYSTEM_NAME, "grpc"), KeyValue::new(RPC_METHOD, method)]
        .into_iter()
        .chain(address)
        .chain(port)
        .collect()
}

/// The measurements of one method, each series looked up once, unless the call has labels of its own.
pub(crate) struct MethodMetrics(Option<Series>);

struct Series {
    instruments: Arc<Instruments>,
    side: Side,
    /// Method and target, in A66's names.
    grpc: Vec<KeyValue>,
    /// The same in OpenTelemetry's names.
    rpc: Vec<KeyValue>,
    /// What they call the code.
    rpc_code: &'static str,
    started: OnceLock<Sum>,
    ended: [OnceLock<Ended>; CODES],
}

/// What is recorded when a call has ended with one particular code.
struct Ended {
    duration: Option<Distribution<f64>>,
    rpc_duration: Option<Distribution<f64>>,
    sent: Option<Distribution<u64>>,
    received: Option<Distribution<u64>>,
}

impl MethodMetrics {
    pub(crate) fn started(&self, labels: &[KeyValue]) {
        let Some(series) = &self.0 else { return };
        let Some(counter) = &series.instruments.started else { return };
        if labels.is_empty() {
            series.started.get_or_init(|| Sum::new(counter, &series.grpc)).add(1);
        } else {
            counter.add(1, &series.with(labels));
        }
    }

    /// Records the end of a call; request and response are what passed in these directions.
    pub(crate) fn ended(
        &self,
        code: Code,
        duration: Duration,
        [request, response]: [&MessageCounter; 2],
        labels: &[KeyValue],
    ) {
        let Some(series) = &self.0 else { return };
        let own;
        let ended = if labels.is_empty() {
            series.ended[code as usize].get_or_init(|| series.ended(code, &[]))
        } else {
            own = series.ended(code, labels);
            &own
        };
        let seconds = duration.as_secs_f64();
        if let Some(duration) = &ended.duration {
            duration.record(seconds);
        }
        if let Some(duration) = &ended.rpc_duration {
            duration.record(seconds);
        }
        let (sent, received) =
            if series.side == Side::Server { (response, request) } else { (request, response) };
        if let Some(sizes) = &ended.sent {
            sizes.record(sent.bytes());
        }
        if let Some(sizes) = &ended.received {
            sizes.record(received.bytes());
        }
    }

    /// Records what an ended call took beyond its first attempt. Zeros are not reported but for the delay (A96).
    pub(crate) fn retried(&self, retries: Retries, labels: &[KeyValue]) {
        let Some(series) = &self.0 else { return };
        let attributes = series.with(labels);
        let Instruments { retries: count, transparent_retries, hedges, retry_delay, .. } =
            &*series.instruments;
        for (histogram, value) in
            [(count, retries.ordinary), (transparent_retries, retries.transparent), (hedges, retries.hedges)]
        {
            if let Some(histogram) = histogram
                && value > 0
            {
                histogram.record(value, &attributes);
            }
        }
        if let Some(histogram) = retry_delay {
            histogram.record(retries.delay.as_secs_f64(), &attributes);
        }
    }

    /// Records how long an attempt, or its call, has waited in the client's channel (A121).
    pub(crate) fn delayed(&self, of_call: bool, kind: &'static str, time: Duration, labels: &[KeyValue]) {
        let Some(series) = &self.0 else { return };
        let Instruments { call_delay, attempt_delay, .. } = &*series.instruments;
        if let Some(histogram) = if of_call { call_delay } else { attempt_delay } {
            let mut attributes = series.with(labels);
            attributes.push(KeyValue::new("grpc.delay_type", kind));
            histogram.record(time.as_secs_f64(), &attributes);
        }
    }
}

impl Series {
    fn with(&self, labels: &[KeyValue]) -> Vec<KeyValue> {
        self.grpc.iter().chain(labels).cloned().collect()
    }

    fn ended(&self, code: Code, labels: &[KeyValue]) -> Ended {
        let name = status::name(code);
        let mut grpc = self.with(labels);
        grpc.push(KeyValue::new("grpc.status", name));
        let mut rpc: Vec<_> = self.rpc.iter().chain(labels).cloned().collect();
        rpc.push(KeyValue::new(self.rpc_code, name));
        if status::is_error(self.side, code) {
            rpc.push(KeyValue::new(ERROR_TYPE, name));
        }
        let Instruments { duration, rpc_duration, sent, received, .. } = &*self.instruments;
        Ended {
            duration: duration.as_ref().map(|duration| Distribution::new(duration, &grpc)),
            rpc_duration: rpc_duration.as_ref().map(|duration| Distribution::new(duration, &rpc)),
            sent: sent.as_ref().map(|sizes| Distribution::new(sizes, &grpc)),
            received: received.as_ref().map(|sizes| Distribution::new(sizes, &grpc)),
        }
    }
}
