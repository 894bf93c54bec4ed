//! What becomes of the files, in logs and metrics.

use std::collections::HashMap;

use kelvin_app::unix_now;
use opentelemetry::{
    KeyValue,
    metrics::{Counter, Gauge, Meter},
};

use crate::watched::{Event, Expiry};

/// What became of a change, as an attribute of metrics.
const OK: &str = "ok";
const REFUSED: &str = "refused";

pub(crate) struct Reporter {
    reloads: Counter<u64>,
    expiry: Gauge<i64>,
    /// The end of each certificate, by file, that was told to have expired.
    expired: HashMap<&'static str, i64>,
}

impl Reporter {
    pub(crate) fn new(meter: &Meter, files: Vec<&'static str>) -> Self {
        let reloads = meter
            .u64_counter("kelvin.reloads")
            .with_unit("{reload}")
            .with_description(
                "Changes of certificates, CA bundles, tokens and passwords, taken over or refused",
            )
            .build();
        let expiry = meter
            .i64_gauge("kelvin.certificate.expiry")
            .with_unit("s")
            .with_description("When the certificate in use ends, in seconds since the Unix epoch")
            .build();
        // Prometheus sees no increase in a series that begins with its first event: they begin at 0.
        for file in files {
            for word in [OK, REFUSED] {
                reloads.add(0, &attributes(file, word));
            }
        }
        Self { reloads, expiry, expired: HashMap::new() }
    }

    pub(crate) fn changed(&self, Event { file, result }: Event) {
        self.reloads.add(1, &attributes(file, if result.is_ok() { OK } else { REFUSED }));
        match result {
            Ok(()) => tracing::info!(file, "reloaded"),
            Err(error) => tracing::warn!(file, %error, "not reloaded; the last good one stays in use"),
        }
    }

    pub(crate) fn ends(&mut self, Expiry { file, at }: Expiry) {
        self.expiry.record(at, &[KeyValue::new("file", file)]);
        if at < unix_now() && self.expired.insert(file, at) != Some(at) {
            tracing::error!(file, "the certificate in use has expired; nobody takes it until it is renewed");
        }
    }
}

fn attributes(file: &'static str, word: &'static str) -> [KeyValue; 2] {
    [KeyValue::new("file", file), KeyValue::new("result", word)]
}
