//! Names, units, descriptions and bounds, word by word from their specifications.

use opentelemetry::metrics::{Counter, Histogram, Meter};

use super::DurationMetrics;

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

/// The instruments of one side of RPCs.
pub(super) struct Instruments {
    pub(super) started: Option<Counter<u64>>,
    pub(super) duration: Option<Histogram<f64>>,
    pub(super) rpc_duration: Option<Histogram<f64>>,
    pub(super) sizes: Option<Sizes>,
    pub(super) retries: Option<Retries>,
}

/// Bytes of all messages of one RPC.
pub(super) struct Sizes {
    pub(super) sent: Histogram<u64>,
    pub(super) received: Histogram<u64>,
}

/// The instruments of A96. tonic has no transparent retries, so they are not counted.
pub(super) struct Retries {
    pub(super) count: Histogram<u64>,
    pub(super) hedges: Histogram<u64>,
    pub(super) delay: Histogram<f64>,
}

impl Instruments {
    pub(super) fn server(meter: &Meter, duration: DurationMetrics) -> Self {
        Self {
            started: Some(
                meter
                    .u64_counter("grpc.server.call.started")
                    .with_unit("{call}")
                    .with_description(
                        "The total number of RPCs started, including those that have not completed.",
                    )
                    .build(),
            ),
            duration: (duration != DurationMetrics::OpenTelemetry).then(|| {
                latency(
                    meter,
                    "grpc.server.call.duration",
                    "This metric aims to measure the end2end time an RPC takes from the server transport’s \
                     (HTTP2/ inproc) perspective.",
                )
            }),
            rpc_duration: rpc_duration(
                meter,
                duration,
                "rpc.server.call.duration",
                "Measures the duration of an incoming Remote Procedure Call (RPC).",
            ),
            sizes: Some(Sizes {
                sent: size(
                    meter,
                    "grpc.server.call.sent_total_compressed_message_size",
                    "Total bytes (compressed but not encrypted) sent across all response messages (metadata \
                     excluded) per RPC; does not include grpc or transport framing bytes.",
                ),
                received: size(
                    meter,
                    "grpc.server.call.rcvd_total_compressed_message_size",
                    "Total bytes (compressed but not encrypted) received across all request messages \
                     (metadata excluded) per RPC; does not include grpc or transport framing bytes.",
                ),
            }),
            retries: None,
        }
    }

    pub(super) fn attempt(meter: &Meter) -> Self {
        Self {
            started: Some(
                meter
                    .u64_counter("grpc.client.attempt.started")
                    .with_unit("{attempt}")
                    .with_description(
                        "The total number of RPC attempts started, including those that have not completed.",
                    )
                    .build(),
            ),
            duration: Some(latency(
                meter,
                "grpc.client.attempt.duration",
                "End-to-end time taken to complete an RPC attempt including the time it takes to pick a \
                 subchannel.",
            )),
            rpc_duration: None,
            sizes: Some(Sizes {
                sent: size(
                    meter,
                    "grpc.client.attempt.sent_total_compressed_message_size",
                    "Total bytes (compressed but not encrypted) sent across all request messages (metadata \
                     excluded) per RPC attempt; does not include grpc or transport framing bytes.",
                ),
                received: size(
                    meter,
                    "grpc.client.attempt.rcvd_total_compressed_message_size",
                    "Total bytes (compressed but not encrypted) received across all response messages \
                     (metadata excluded) per RPC attempt; does not include grpc or transport framing bytes.",
                ),
            }),
            retries: None,
        }
    }

    pub(super) fn call(meter: &Meter, duration: DurationMetrics, retries: bool) -> Self {
        Self {
            started: None,
            duration: (duration != DurationMetrics::OpenTelemetry).then(|| {
                latency(
                    meter,
                    "grpc.client.call.duration",
                    "This metric aims to measure the end-to-end time the gRPC library takes to complete an \
                     RPC from the application’s perspective.",
                )
            }),
            rpc_duration: rpc_duration(
                meter,
                duration,
                "rpc.client.call.duration",
                "Measures the duration of an outgoing Remote Procedure Call (RPC).",
            ),
            sizes: None,
            retries: retries.then(|| Retries::new(meter)),
        }
    }
}

impl Retries {
    fn new(meter: &Meter) -> Self {
        let count = |name, unit, description| {
            meter
                .u64_histogram(name)
                .with_unit(unit)
                .with_description(description)
                .with_boundaries(RETRIES.to_vec())
                .build()
        };
        Self {
            count: count(
                "grpc.client.call.retries",
                "{retry}",
                "Number of retries during the client call. If there were no retries, 0 is not reported.",
            ),
            hedges: count(
                "grpc.client.call.hedges",
                "{hedge}",
                "Number of hedges during the client call. If there were no hedges, 0 is not reported.",
            ),
            delay: latency(
                meter,
                "grpc.client.call.retry_delay",
                "Total time of delay while there is no active attempt during the client call.",
            ),
        }
    }
}

fn latency(meter: &Meter, name: &'static str, description: &'static str) -> Histogram<f64> {
    let histogram = meter.f64_histogram(name).with_unit("s").with_description(description);
    histogram.with_boundaries(LATENCY.to_vec()).build()
}

fn rpc_duration(
    meter: &Meter,
    wanted: DurationMetrics,
    name: &'static str,
    description: &'static str,
) -> Option<Histogram<f64>> {
    (wanted != DurationMetrics::Grpc).then(|| {
        let histogram = meter.f64_histogram(name).with_unit("s").with_description(description);
        histogram.with_boundaries(RPC_DURATION.to_vec()).build()
    })
}

fn size(meter: &Meter, name: &'static str, description: &'static str) -> Histogram<u64> {
    let histogram = meter.u64_histogram(name).with_unit("By").with_description(description);
    histogram.with_boundaries(SIZE.to_vec()).build()
}
