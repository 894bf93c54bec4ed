use kelvin_store::{Batch, Report};
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

/// The words that events are told apart by.
const REASONS: [&str; 5] =
    ["invalid_sensor_id", "invalid_temperature", "invalid_timestamp", "too_many_sensors", "store_full"];
const ALERTS: [&str; 3] = ["low", "high", "outlier"];
const STREAMS: [&str; 2] = ["SensorService/StreamSensorReadings", "SensorService/SensorChat"];
const CALLERS: [&str; 2] = ["no_token", "wrong_token"];
const CONNECTIONS: [&str; 5] = ["limit", "handshake", "handshake_timeout", "no_http2", "no_http2_timeout"];

/// Kelvin's own metrics of the server. Labels are bounded: never a sensor.
#[derive(Debug)]
pub(crate) struct Metrics {
    accepted: BoundCounter<u64>,
    rejected: Counter<u64>,
    alerts: Counter<u64>,
    temperature: BoundHistogram<f64>,
    broken: Counter<u64>,
    unauthenticated: Counter<u64>,
    connections: UpDownCounter<i64>,
    refused_connections: Counter<u64>,
}

impl Metrics {
    pub(crate) fn new(meter: &Meter) -> Self {
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
        Self {
            accepted: counter("kelvin.readings.accepted", "{reading}", "Readings stored").bind(&[]),
            rejected: counter_by(
                "kelvin.readings.rejected",
                "{reading}",
                "Readings not stored, by reason",
                "reason",
                &REASONS,
            ),
            alerts: counter_by("kelvin.alerts", "{alert}", "Alerts begun, by kind", "kind", &ALERTS),
            temperature: meter
                .f64_histogram("kelvin.temperature")
                .with_unit("Cel")
                .with_description("Temperatures that arrive: the first of each batch")
                .with_boundaries(TEMPERATURES.to_vec())
                .build()
                .bind(&[]),
            broken: counter_by(
                "kelvin.streams.aborted",
                "{stream}",
                "Streams of readings that broke off, by call",
                "rpc.method",
                &STREAMS,
            ),
            unauthenticated: counter_by(
                "kelvin.calls.unauthenticated",
                "{call}",
                "Calls refused, by reason",
                "reason",
                &CALLERS,
            ),
            connections: meter
                .i64_up_down_counter("kelvin.connections")
                .with_unit("{connection}")
                .with_description("Connections open")
                .build(),
            refused_connections: counter_by(
                "kelvin.connections.refused",
                "{connection}",
                "Connections closed before their first call, by reason",
                "reason",
                &CONNECTIONS,
            ),
        }
    }

    /// Counts what came of a batch.
    pub(crate) fn appended(&self, batch: &Batch, report: &Report) {
        // One of a batch shows the spread; measuring each would cost as much as storing it.
        if let Some((_, reading)) = batch.iter().next() {
            self.temperature.record(reading.temperature);
        }
        if report.stored > 0 {
            self.accepted.add(report.stored as u64);
        }
        for (_, refusal) in &report.refused {
            self.rejected.add(1, &[KeyValue::new("reason", refusal.label())]);
        }
        for (_, alert) in report.alerts.iter().filter(|(_, alert)| alert.began) {
            self.alerts.add(1, &[KeyValue::new("kind", alert.label())]);
        }
    }

    pub(crate) fn invalid(&self, invalid: Invalid) {
        self.rejected.add(1, &[KeyValue::new("reason", invalid.label())]);
    }

    pub(crate) fn stream_broken(&self, method: &'static str) {
        self.broken.add(1, &[KeyValue::new("rpc.method", method)]);
    }

    pub(crate) fn unauthenticated(&self, reason: &'static str) {
        self.unauthenticated.add(1, &[KeyValue::new("reason", reason)]);
    }

    pub(crate) fn connection_opened(&self) {
        self.connections.add(1, &[]);
    }

    pub(crate) fn connection_closed(&self) {
        self.connections.add(-1, &[]);
    }

    pub(crate) fn connection_refused(&self, reason: &'static str) {
        self.refused_connections.add(1, &[KeyValue::new("reason", reason)]);
    }
}
