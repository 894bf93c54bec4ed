//! The instruments of gRFC A66 and A96, and those of OpenTelemetry's conventions.

mod instruments;
mod series;

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use opentelemetry::{KeyValue, metrics::Meter};
use tonic::Code;

use self::{
    instruments::Instruments,
    series::{Distribution, Sum},
};
use crate::{
    builder::Shared,
    call::Flow,
    names::{ERROR_TYPE, OTHER, RPC_METHOD, RPC_OTHER, RPC_SYSTEM_NAME, SERVER_ADDRESS, SERVER_PORT},
    recorder::Side,
    status::{self, CODES},
    target::Target,
};

/// Under which names the duration of calls is recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum DurationMetrics {
    /// `grpc.server.call.duration` and `grpc.client.call.duration` of gRFC A66.
    #[default]
    Grpc,
    /// `rpc.server.call.duration` and `rpc.client.call.duration` of OpenTelemetry's semantic
    /// conventions in place of them. The other instruments of A66 have no equivalent and stay.
    OpenTelemetry,
    /// Both.
    Both,
}

/// Where measurements go, and the instruments once they are needed.
#[derive(Default)]
pub(crate) struct Metrics {
    pub(crate) meter: Option<Meter>,
    pub(crate) duration: DurationMetrics,
    pub(crate) retries: bool,
    server: OnceLock<Arc<Instruments>>,
    call: OnceLock<Arc<Instruments>>,
    attempt: OnceLock<Arc<Instruments>>,
}

impl Metrics {
    fn instruments(&self, side: Side) -> Option<Arc<Instruments>> {
        let meter = self.meter.as_ref()?;
        let instruments = match side {
            Side::Server => self.server.get_or_init(|| Arc::new(Instruments::server(meter, self.duration))),
            Side::Call => {
                self.call.get_or_init(|| Arc::new(Instruments::call(meter, self.duration, self.retries)))
            }
            Side::Attempt => self.attempt.get_or_init(|| Arc::new(Instruments::attempt(meter))),
        };
        Some(instruments.clone())
    }
}

/// The measurements of one method, each series looked up once.
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
    pub(crate) fn new(shared: &Shared, side: Side, target: Option<Target>, method: &'static str) -> Self {
        Self(shared.metrics.instruments(side).map(|instruments| Series {
            instruments,
            side,
            grpc: grpc_attributes(target, method),
            rpc: rpc_attributes(target, method),
            rpc_code: shared.semconv.status_code(),
            started: OnceLock::new(),
            ended: [const { OnceLock::new() }; CODES],
        }))
    }

    pub(crate) fn started(&self) {
        let Some(series) = &self.0 else { return };
        if let Some(counter) = &series.instruments.started {
            series.started.get_or_init(|| Sum::new(counter, &series.grpc)).add(1);
        }
    }

    pub(crate) fn ended(&self, code: Code, duration: Duration, request: &Flow, response: &Flow) {
        let Some(series) = &self.0 else { return };
        let ended = series.ended[code as usize].get_or_init(|| series.ended(code));
        let seconds = duration.as_secs_f64();
        for duration in [&ended.duration, &ended.rpc_duration].into_iter().flatten() {
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

    /// A call has ended after so many retries, hedges, and time between attempts. Zero retries
    /// and hedges are not reported (A96).
    pub(crate) fn retried(&self, retries: u64, hedges: u64, delay: Duration) {
        let Some(series) = &self.0 else { return };
        let Some(instruments) = &series.instruments.retries else { return };
        if retries > 0 {
            instruments.count.record(retries, &series.grpc);
        }
        if hedges > 0 {
            instruments.hedges.record(hedges, &series.grpc);
        }
        instruments.delay.record(delay.as_secs_f64(), &series.grpc);
    }
}

impl Series {
    fn ended(&self, code: Code) -> Ended {
        let name = status::name(code);
        let mut grpc = self.grpc.clone();
        grpc.push(KeyValue::new("grpc.status", name));
        let mut rpc = self.rpc.clone();
        rpc.push(KeyValue::new(self.rpc_code, name));
        if status::is_error(self.side, code) {
            rpc.push(KeyValue::new(ERROR_TYPE, name));
        }
        let Instruments { duration, rpc_duration, sizes, .. } = &*self.instruments;
        Ended {
            duration: duration.as_ref().map(|duration| Distribution::new(duration, &grpc)),
            rpc_duration: rpc_duration.as_ref().map(|duration| Distribution::new(duration, &rpc)),
            sent: sizes.as_ref().map(|sizes| Distribution::new(&sizes.sent, &grpc)),
            received: sizes.as_ref().map(|sizes| Distribution::new(&sizes.received, &grpc)),
        }
    }
}

fn grpc_attributes(target: Option<Target>, method: &'static str) -> Vec<KeyValue> {
    let target = target.map(|target| KeyValue::new("grpc.target", target.uri));
    [KeyValue::new("grpc.method", method)].into_iter().chain(target).collect()
}

fn rpc_attributes(target: Option<Target>, method: &'static str) -> Vec<KeyValue> {
    let method = if method == OTHER { RPC_OTHER } else { method };
    let address = target.map(|target| KeyValue::new(SERVER_ADDRESS, target.address));
    let port = target.and_then(|target| target.port).map(|port| KeyValue::new(SERVER_PORT, i64::from(port)));
    [KeyValue::new(RPC_SYSTEM_NAME, "grpc"), KeyValue::new(RPC_METHOD, method)]
        .into_iter()
        .chain(address)
        .chain(port)
        .collect()
}
