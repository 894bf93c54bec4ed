//! Reports reloads and expiries in logs and metrics.

use std::collections::HashMap;

use kelvin_app::unix_now;
use opentelemetry::{
    KeyValue,
    metrics::{Counter, Gauge, Meter},
};

use crate::file::{Event, Expiry};

/// Values of the attribute `result`.
const OK: &str = "ok";
const REJECTED: &str = "rejected";

pub(crate) struct Reporter {
    reloads: Counter<u64>,
    expiry: Gauge<i64>,
    /// The expiry of each certificate, by file, that was logged as expired.
    logged: HashMap<&'static str, i64>,
}

impl Reporter {
    pub(crate) fn new(meter: &Meter, names: Vec<&'static str>) -> Self {
        let reloads = meter
            .u64_counter("kelvin.reloads")
            .with_unit("{reload}")
            .with_description("Changes to certificates, CA bundles, tokens and passwords, loaded or rejected")
            .build();
        let expiry = meter
            .i64_gauge("kelvin.certificate.expiry")
            .with_unit("s")
            .with_description("When the certificate in use expires, in seconds since the Unix epoch")
            .build();
        // Prometheus sees no increase in a series that begins with its first event: they begin at 0.
        for file in names {
            for result in [OK, REJECTED] {
                reloads.add(0, &attributes(file, result));
            }
        }
        Self { reloads, expiry, logged: HashMap::new() }
    }

    pub(crate) fn changed(&self, Event { name, result }: Event) {
        self.reloads.add(1, &attributes(name, if result.is_ok() { OK } else { REJECTED }));
        match result {
            Ok(()) => tracing::info!(file = name, "reloaded"),
            Err(error) => tracing::warn!(file = name, %error, "reload failed; keeping the previous version"),
        }
    }

    pub(crate) fn expires(&mut self, &Expiry { name, at }: &Expiry) {
        self.expiry.record(at, &[KeyValue::new("file", name)]);
        if at < unix_now() && self.logged.insert(name, at) != Some(at) {
            tracing::error!(file = name, "certificate expired; peers reject it");
        }
    }
}

fn attributes(file: &'static str, result: &'static str) -> [KeyValue; 2] {
    [KeyValue::new("file", file), KeyValue::new("result", result)]
}
