use std::{fmt::Write as _, sync::Arc};

use kelvin_app::counted;
use kelvin_proto::Ack;
use kelvin_store::{Batch, Report};
use opentelemetry::Context;
use tonic::Status;

use super::{ingest::Stop, lifetime::Ending, service::Core};
use crate::status::{self, Place, so_far};

/// How far a stream of readings has come. One that breaks off is counted and logged.
#[derive(Debug)]
pub(super) struct Progress {
    core: Arc<Core>,
    method: &'static str,
    /// Of the call, for the log line.
    context: Context,
    told: bool,
    /// Valid readings received.
    received: u64,
    pub(super) stored: u64,
    evicted: u64,
    alerts: u64,
    /// What came of the last batch.
    pub(super) report: Report,
}

impl Progress {
    pub(super) fn new(core: Arc<Core>, method: &'static str) -> Self {
        Self {
            core,
            method,
            context: Context::current(),
            told: false,
            received: 0,
            stored: 0,
            evicted: 0,
            alerts: 0,
            report: Report::default(),
        }
    }

    /// Stores a batch.
    pub(super) async fn append(&mut self, batch: &Batch) -> Result<(), Status> {
        self.report.clear();
        if batch.is_empty() {
            return Ok(());
        }
        let result = self.core.append(batch, &mut self.report).await;
        self.stored += self.report.stored as u64;
        self.evicted += self.report.evicted as u64;
        self.alerts += self.report.alerts.iter().filter(|(_, alert)| alert.began).count() as u64;
        if let Err(error) = result {
            self.told = true;
            return Err(status::store_error(&error, Some(self.stored)));
        }
        self.received += batch.len() as u64;
        Ok(())
    }

    /// The status for a batch of which not all is stored.
    pub(super) fn refused(&mut self, batch: &Batch) -> Option<Status> {
        let (index, refusal) = *self.report.refused.first()?;
        self.told = true;
        let index = self.received - (batch.len() - index) as u64;
        Some(status::refused_in_stream(refusal, Place { index, stored: self.stored }))
    }

    /// The answer to a complete stream.
    pub(super) fn ack(&mut self) -> Ack {
        self.told = true;
        let mut message = format!("stored {}", counted(self.stored, "reading"));
        if self.evicted > 0 {
            let _ = write!(message, "; {} older went to make room", self.evicted);
        }
        if self.alerts > 0 {
            let _ = write!(message, "; {} began", counted(self.alerts, "alert"));
        }
        Ack { message, accepted: Some(self.stored) }
    }

    /// The status for a stream that ends by `stop`.
    pub(super) fn stopped(&mut self, stop: Stop) -> Status {
        self.told = !matches!(stop, Stop::Broken(_) | Stop::Ended(Ending::Deadline));
        match stop {
            Stop::Complete => Status::ok(""),
            Stop::Invalid(invalid) => {
                self.core.metrics.invalid(invalid);
                status::invalid_in_stream(invalid, Place { index: self.received, stored: self.stored })
            }
            Stop::Unreadable(status) => status::with_stored(&status, self.stored),
            Stop::Broken(error) => {
                Status::cancelled(format!("the stream broke off: {error}; {}", so_far(self.stored)))
            }
            Stop::Ended(ending) => status::ended(ending, Some(self.stored)),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if !self.told {
            let _current = self.context.clone().attach();
            self.core.metrics.stream_broken(self.method);
            tracing::info!(
                method = self.method,
                stored = self.stored,
                "a stream broke off; what is stored stays"
            );
        }
    }
}
