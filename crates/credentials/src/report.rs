//! Reports reloads and expiries in logs and metrics.

use std::collections::HashMap;

use kelvin_app::unix_now;
use opentelemetry::{
    KeyValue,
    metrics::{Counter, Gauge, Meter},
};

use crate::{
    TlsError,
    file::{Event, Expiry, Purpose},
};

/// The result of a change: the value of the attribute `result`.
#[derive(Debug, Clone, Copy)]
enum ReloadResult {
    Ok,
    Rejected,
}

pub(crate) struct Reporter {
    reloads: Counter<u64>,
    expiry: Gauge<i64>,
    /// The expiry of the certificates that were logged as expired, by file.
    logged: HashMap<Purpose, i64>,
}

impl Reporter {
    pub(crate) fn new(meter: &Meter, files: Vec<Purpose>) -> Self {
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
        // Prometheus sees no increase in a series that starts with its first event, so all start at 0.
        for file in files {
            for result in ReloadResult::ALL {
                reloads.add(0, &[file.into(), result.into()]);
            }
        }
        Self { reloads, expiry, logged: HashMap::new() }
    }

    pub(crate) fn changed(&self, Event { file, result }: Event) {
        self.reloads.add(1, &[file.into(), ReloadResult::from(&result).into()]);
        let file = file.as_str();
        match result {
            Ok(()) => tracing::info!(file, "reloaded"),
            Err(error) => tracing::warn!(file, %error, "reload failed; keeping the previous version"),
        }
    }

    pub(crate) fn expires(&mut self, &Expiry { file, at }: &Expiry) {
        self.expiry.record(at, &[file.into()]);
        if at < unix_now() && self.logged.insert(file, at) != Some(at) {
            tracing::error!(file = file.as_str(), "certificate expired; peers reject it");
        }
    }
}

impl ReloadResult {
    const ALL: [Self; 2] = [Self::Ok, Self::Rejected];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Rejected => "rejected",
        }
    }
}

impl From<&Result<(), TlsError>> for ReloadResult {
    fn from(result: &Result<(), TlsError>) -> Self {
        if result.is_ok() { Self::Ok } else { Self::Rejected }
    }
}

impl From<ReloadResult> for KeyValue {
    fn from(result: ReloadResult) -> Self {
        Self::new("result", result.as_str())
    }
}
