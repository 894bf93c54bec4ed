use kelvin_credentials::HandshakeResult;
use kelvin_proto::Method;
use kelvin_store::{AlertKind, Reading, RejectReason, Report};
use opentelemetry::{
    KeyValue,
    metrics::{BoundCounter, BoundHistogram, Counter, Meter, UpDownCounter},
};

use crate::validate::Invalid;

/// Bounds of the buckets of `kelvin.temperature`, degrees Celsius: finest where people live.
const TEMPERATURES: [f64; 22] = [
    -40.0, -30.0, -20.0, -10.0, -5.0, 0.0, 5.0, 10.0, 12.0, 14.0, 16.0, 18.0, 20.0, 22.0, 24.0, 26.0, 28.0,
    30.0, 35.0, 40.0, 60.0, 100.0,
];

/// Declares the values of a metric label: a closed set, so that every series begins at 0.
macro_rules! label_values {
    ($(#[$meta:meta])* $name:ident { $($variant:ident = $value:expr,)+ }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum $name { $($variant),+ }

        impl $name {
            pub(crate) const ALL: &[Self] = &[$(Self::$variant),+];

            /// Returns the value of the label.
            pub(crate) const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $value),+ }
            }
        }
    };
}

label_values! {
    /// Why a reading is rejected before it gets to the store, whose reasons are in [`RejectReason`].
    InvalidReason {
        SensorId = "invalid_sensor_id",
        Temperature = "invalid_temperature",
        Timestamp = "invalid_timestamp",
    }
}

label_values! {
    /// A call that takes a stream of readings.
    StreamMethod {
        StreamSensorReadings = Method::StreamSensorReadings.full_name(),
        SensorChat = Method::SensorChat.full_name(),
    }
}

label_values! {
    /// Why a call is not authenticated.
    AuthFailure {
        Missing = "no_token",
        Wrong = "wrong_token",
        Ambiguous = "ambiguous_token",
        Certificate = "rejected_certificate",
    }
}

label_values! {
    /// Why a connection is closed before its first call.
    ConnectionRefusal {
        Limit = "limit",
        Handshake = "handshake",
        HandshakeTimeout = "handshake_timeout",
        NoHttp2 = "no_http2",
        NoHttp2Timeout = "no_http2_timeout",
    }
}

label_values! {
    /// Why the server closes a connection that is open.
    CloseReason {
        Idle = "unauthenticated_idle",
        Displaced = "unauthenticated_displaced",
        Refused = "unauthenticated_calls_refused",
        UnauthenticatedBytes = "unauthenticated_memory_limit",
        Budget = "memory_limit",
        SettingsFlood = "settings_flood",
    }
}

fn values<T: Copy>(all: &[T], as_str: impl Fn(T) -> &'static str) -> Vec<&'static str> {
    all.iter().map(|value| as_str(*value)).collect()
}

/// Kelvin's own metrics of the server. Labels are bounded: never a sensor.
#[derive(Debug)]
pub(crate) struct Metrics {
    accepted: BoundCounter<u64>,
    rejected: Counter<u64>,
    alerts: Counter<u64>,
    temperature: BoundHistogram<f64>,
    aborted: Counter<u64>,
    unauthenticated: Counter<u64>,
    connections: UpDownCounter<i64>,
    refused_connections: Counter<u64>,
    tls_handshakes: Counter<u64>,
    closed_connections: Counter<u64>,
}

impl Metrics {
    pub(crate) fn new(meter: &Meter, max_connections: usize) -> Self {
        let counter = |name, unit, description| {
            meter.u64_counter(name).with_unit(unit).with_description(description).build()
        };
        // Prometheus sees no increase in a series that begins with its first event: they begin at 0.
        let counter_by = |name, unit, description, key: &'static str, words: &[&'static str]| {
            let counter: Counter<u64> = counter(name, unit, description);
            for word in words {
                counter.add(0, &[KeyValue::new(key, *word)]);
            }
            counter
        };
        let accepted = counter("kelvin.readings.accepted", "{reading}", "Readings stored").bind(&[]);
        // What is rejected is compared with it, also where nothing is ever accepted.
        accepted.add(0);
        meter
            .u64_observable_gauge("kelvin.connections.limit")
            .with_unit("{connection}")
            .with_description("Maximum number of open connections (KELVIN_MAX_CONNECTIONS)")
            .with_callback(move |instrument| instrument.observe(max_connections as u64, &[]))
            .build();
        Self {
            accepted,
            rejected: counter_by(
                "kelvin.readings.rejected",
                "{reading}",
                "Readings not stored, by reason",
                "reason",
                &[
                    values(InvalidReason::ALL, InvalidReason::as_str),
                    values(&RejectReason::ALL, RejectReason::as_str),
                ]
                .concat(),
            ),
            alerts: counter_by(
                "kelvin.alerts",
                "{alert}",
                "Alerts raised, by kind",
                "kind",
                &AlertKind::VALUES,
            ),
            temperature: meter
                .f64_histogram("kelvin.temperature")
                .with_unit("Cel")
                .with_description("Sampled temperatures: the first of each batch")
                .with_boundaries(TEMPERATURES.to_vec())
                .build()
                .bind(&[]),
            aborted: counter_by(
                "kelvin.streams.aborted",
                "{stream}",
                "Aborted streams of readings, by method",
                "rpc.method",
                &values(StreamMethod::ALL, StreamMethod::as_str),
            ),
            unauthenticated: counter_by(
                "kelvin.calls.unauthenticated",
                "{call}",
                "Calls refused, by reason",
                "reason",
                &values(AuthFailure::ALL, AuthFailure::as_str),
            ),
            connections: meter
                .i64_up_down_counter("kelvin.connections")
                .with_unit("{connection}")
                .with_description("Open connections")
                .build(),
            // gRFC A118
            tls_handshakes: counter(
                "grpc.server.tls.handshakes",
                "{handshake}",
                "Number of TLS handshakes, by result.",
            ),
            refused_connections: counter_by(
                "kelvin.connections.refused",
                "{connection}",
                "Connections closed before their first call, by reason",
                "reason",
                &values(ConnectionRefusal::ALL, ConnectionRefusal::as_str),
            ),
            closed_connections: counter_by(
                "kelvin.connections.closed",
                "{connection}",
                "Open connections that the server closed at a limit, by reason",
                "reason",
                &values(CloseReason::ALL, CloseReason::as_str),
            ),
        }
    }

    /// Counts what came of a batch, one reading of which shows the spread.
    pub(crate) fn appended(&self, sample: Option<Reading>, report: &Report) {
        if let Some(reading) = sample {
            self.temperature.record(reading.temperature);
        }
        if report.stored > 0 {
            self.accepted.add(report.stored as u64);
        }
        for (_, reason) in &report.rejected {
            self.rejected.add(1, &[KeyValue::new("reason", reason.as_str())]);
        }
        for (_, alert) in report.alerts.iter().filter(|(_, alert)| alert.began) {
            self.alerts.add(1, &[KeyValue::new("kind", alert.kind.as_str())]);
        }
    }

    pub(crate) fn invalid(&self, invalid: Invalid) {
        if let Some(reason) = invalid_reason(invalid) {
            self.rejected.add(1, &[KeyValue::new("reason", reason.as_str())]);
        }
    }

    pub(crate) fn stream_aborted(&self, method: StreamMethod) {
        self.aborted.add(1, &[KeyValue::new("rpc.method", method.as_str())]);
    }

    pub(crate) fn unauthenticated(&self, reason: AuthFailure) {
        self.unauthenticated.add(1, &[KeyValue::new("reason", reason.as_str())]);
    }

    pub(crate) fn connection_opened(&self) {
        self.connections.add(1, &[]);
    }

    pub(crate) fn connection_closed(&self) {
        self.connections.add(-1, &[]);
    }

    pub(crate) fn tls_handshake(&self, result: HandshakeResult) {
        self.tls_handshakes.add(1, &[result.into()]);
    }

    pub(crate) fn connection_refused(&self, reason: ConnectionRefusal) {
        self.refused_connections.add(1, &[KeyValue::new("reason", reason.as_str())]);
    }

    pub(crate) fn connection_closed_early(&self, reason: CloseReason) {
        self.closed_connections.add(1, &[KeyValue::new("reason", reason.as_str())]);
    }
}

/// Returns the reason to count a rejected reading under; none for a field of a query.
fn invalid_reason(invalid: Invalid) -> Option<InvalidReason> {
    match invalid {
        Invalid::EmptySensorId | Invalid::LongSensorId(_) => Some(InvalidReason::SensorId),
        Invalid::NotFinite(_) | Invalid::BelowAbsoluteZero(_) | Invalid::AboveMaximum(_) => {
            Some(InvalidReason::Temperature)
        }
        Invalid::TimestampInFuture { .. } => Some(InvalidReason::Timestamp),
        Invalid::ShortStep(_) => None,
    }
}
