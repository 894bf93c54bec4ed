//! Names, units, descriptions and bounds, word by word from their specifications.

use opentelemetry::metrics::{Counter, Histogram, Meter};

use super::Selection;
use crate::side::Side;

/// Bucket bounds of latencies in seconds (A66).
const LATENCY: [f64; 41] = [
    0.0, 0.000_01, 0.000_05, 0.000_1, 0.000_3, 0.000_6, 0.000_8, 0.001, 0.002, 0.003, 0.004, 0.005, 0.006,
    0.008, 0.01, 0.013, 0.016, 0.02, 0.025, 0.03, 0.04, 0.05, 0.065, 0.08, 0.1, 0.13, 0.16, 0.2, 0.25, 0.3,
    0.4, 0.5, 0.65, 0.8, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0,
];
/// Bucket bounds of sizes in bytes (A66).
const SIZE: [f64; 14] = [
    0.0,
    1024.0,
    2048.0,
    4096.0,
    16384.0,
    65536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
    67_108_864.0,
    268_435_456.0,
    1_073_741_824.0,
    4_294_967_296.0,
];
/// Bucket bounds of retries and hedges (A96).
const RETRIES: [f64; 5] = [1.0, 2.0, 3.0, 4.0, 5.0];
/// Bucket bounds of `rpc.*.call.duration` in seconds (OpenTelemetry's conventions).
const RPC_DURATION: [f64; 14] =
    [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

/// The instruments of one side of RPCs, those that are selected.
#[derive(Default)]
pub(super) struct Instruments {
    pub(super) started: Option<Counter<u64>>,
    pub(super) duration: Option<Histogram<f64>>,
    pub(super) rpc_duration: Option<Histogram<f64>>,
    /// Bytes of all messages of one RPC.
    pub(super) sent: Option<Histogram<u64>>,
    pub(super) received: Option<Histogram<u64>>,
    pub(super) retries: Option<Histogram<u64>>,
    pub(super) transparent_retries: Option<Histogram<u64>>,
    pub(super) hedges: Option<Histogram<u64>>,
    pub(super) retry_delay: Option<Histogram<f64>>,
    pub(super) call_delay: Option<Histogram<f64>>,
    pub(super) attempt_delay: Option<Histogram<f64>>,
}

impl Instruments {
    pub(super) fn new(side: Side, meter: &Meter, selection: &Selection) -> Self {
        let make = Make { meter, selection };
        match side {
            Side::Server => Self::server(&make),
            Side::Call => Self::call(&make),
            Side::Attempt => Self::attempt(&make),
        }
    }

    fn server(make: &Make<'_>) -> Self {
        Self {
            started: make.counter(
                "grpc.server.call.started",
                "{call}",
                "The total number of RPCs started, including those that have not completed.",
            ),
            duration: make.latency(
                "grpc.server.call.duration",
                "This metric aims to measure the end2end time an RPC takes from the server transport’s \
                 (HTTP2/ inproc) perspective.",
            ),
            rpc_duration: make.rpc_duration(
                "rpc.server.call.duration",
                "Measures the duration of an incoming Remote Procedure Call (RPC).",
            ),
            sent: make.size(
                "grpc.server.call.sent_total_compressed_message_size",
                "Total bytes (compressed but not encrypted) sent across all response messages (metadata \
                 excluded) per RPC; does not include grpc or transport framing bytes.",
            ),
            received: make.size(
                "grpc.server.call.rcvd_total_compressed_message_size",
                "Total bytes (compressed but not encrypted) received across all request messages (metadata \
                 excluded) per RPC; does not include grpc or transport framing bytes.",
            ),
            ..Self::default()
        }
    }

    fn attempt(make: &Make<'_>) -> Self {
        Self {
            started: make.counter(
                "grpc.client.attempt.started",
                "{attempt}",
                "The total number of RPC attempts started, including those that have not completed.",
            ),
            duration: make.latency(
                "grpc.client.attempt.duration",
                "End-to-end time taken to complete an RPC attempt including the time it takes to pick a \
                 subchannel.",
            ),
            sent: make.size(
                "grpc.client.attempt.sent_total_compressed_message_size",
                "Total bytes (compressed but not encrypted) sent across all request messages (metadata \
                 excluded) per RPC attempt; does not include grpc or transport framing bytes.",
            ),
            received: make.size(
                "grpc.client.attempt.rcvd_total_compressed_message_size",
                "Total bytes (compressed but not encrypted) received across all response messages (metadata \
                 excluded) per RPC attempt; does not include grpc or transport framing bytes.",
            ),
            call_delay: make.latency(
                "grpc.client.call.delay.duration",
                "EXPERIMENTAL. Time an RPC spent waiting at the call level before an attempt was initiated, \
                 such as waiting for name resolution.",
            ),
            attempt_delay: make.latency(
                "grpc.client.attempt.delay.duration",
                "EXPERIMENTAL. Time an RPC attempt spent waiting for a load balancing pick or connection \
                 establishment.",
            ),
            ..Self::default()
        }
    }

    fn call(make: &Make<'_>) -> Self {
        Self {
            duration: make.latency(
                "grpc.client.call.duration",
                "This metric aims to measure the end-to-end time the gRPC library takes to complete an RPC \
                 from the application’s perspective.",
            ),
            rpc_duration: make.rpc_duration(
                "rpc.client.call.duration",
                "Measures the duration of an outgoing Remote Procedure Call (RPC).",
            ),
            retries: make.count(
                "grpc.client.call.retries",
                "{retry}",
                "Number of retries during the client call. If there were no retries, 0 is not reported.",
            ),
            transparent_retries: make.count(
                "grpc.client.call.transparent_retries",
                "{transparent_retry}",
                "Number of transparent retries during the client call. If there were no transparent retries, \
                 0 is not reported.",
            ),
            hedges: make.count(
                "grpc.client.call.hedges",
                "{hedge}",
                "Number of hedges during the client call. If there were no hedges, 0 is not reported.",
            ),
            retry_delay: make.latency(
                "grpc.client.call.retry_delay",
                "Total time of delay while there is no active attempt during the client call.",
            ),
            ..Self::default()
        }
    }
}

/// Makes those instruments that are selected.
struct Make<'a> {
    meter: &'a Meter,
    selection: &'a Selection,
}

impl Make<'_> {
    fn counter(
        &self,
        name: &'static str,
        unit: &'static str,
        description: &'static str,
    ) -> Option<Counter<u64>> {
        let counter = self.meter.u64_counter(name).with_unit(unit).with_description(description);
        self.selection.includes(name).then(|| counter.build())
    }

    fn latency(&self, name: &'static str, description: &'static str) -> Option<Histogram<f64>> {
        self.seconds(name, description, &LATENCY)
    }

    fn rpc_duration(&self, name: &'static str, description: &'static str) -> Option<Histogram<f64>> {
        self.seconds(name, description, &RPC_DURATION)
    }

    fn seconds(
        &self,
        name: &'static str,
        description: &'static str,
        bounds: &[f64],
    ) -> Option<Histogram<f64>> {
        let histogram = self.meter.f64_histogram(name).with_unit("s").with_description(description);
        self.selection.includes(name).then(|| histogram.with_boundaries(bounds.to_vec()).build())
    }

    fn size(&self, name: &'static str, description: &'static str) -> Option<Histogram<u64>> {
        self.integers(name, "By", description, &SIZE)
    }

    fn count(
        &self,
        name: &'static str,
        unit: &'static str,
        description: &'static str,
    ) -> Option<Histogram<u64>> {
        self.integers(name, unit, description, &RETRIES)
    }

    fn integers(
        &self,
        name: &'static str,
        unit: &'static str,
        description: &'static str,
        bounds: &[f64],
    ) -> Option<Histogram<u64>> {
        let histogram = self.meter.u64_histogram(name).with_unit(unit).with_description(description);
        self.selection.includes(name).then(|| histogram.with_boundaries(bounds.to_vec()).build())
    }
}
