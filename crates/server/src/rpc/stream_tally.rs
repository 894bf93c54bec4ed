//! The count of one stream of readings, from its first reading to its end.
//!
//! A stream ends in one of many ways, and its future may also be dropped: when the caller resets the stream, the
//! connection ends or the server stops. So [`StreamTally`] counts and logs aborted streams when it is dropped, and
//! every other end sets `logged` first: an answer, a refusal, an error of the store, a drain. What is left is a broken
//! stream, one past its deadline, or a dropped future.

use std::{fmt::Write as _, sync::Arc};

use kelvin_app::pluralize;
use kelvin_proto::Ack;
use kelvin_store::{Batch, Report};
use opentelemetry::Context;
use tonic::Status;

use super::{core::Core, ingest::StreamEnd};
use crate::{
    caller::Caller,
    end_reason::EndReason,
    log_rate_limiter::LogRateLimiter,
    metrics::StreamMethod,
    status::{self, ReadingPosition, stored_summary},
};

static ABORT_LOG: LogRateLimiter = LogRateLimiter::new();

/// Tallies a stream of readings. Drop counts and logs a stream that was aborted.
#[derive(Debug)]
pub(super) struct StreamTally {
    core: Arc<Core>,
    method: StreamMethod,
    /// The trace context of the call, for the log line.
    context: Context,
    caller: Option<Arc<str>>,
    logged: bool,
    /// Valid readings received.
    received: u64,
    pub(super) stored: u64,
    evicted: u64,
    alerts: u64,
    /// The outcome of the last batch.
    pub(super) report: Report,
}

impl StreamTally {
    pub(super) fn new(core: Arc<Core>, method: StreamMethod, caller: &Caller) -> Self {
        Self {
            core,
            method,
            context: Context::current(),
            caller: caller.name().cloned(),
            logged: false,
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
            self.logged = true;
            return Err(status::store_error(&error, Some(self.stored)));
        }
        self.received += batch.len() as u64;
        Ok(())
    }

    /// The status for a batch of which not all is stored.
    pub(super) fn refused(&mut self, batch: &Batch) -> Option<Status> {
        let (index, refusal) = *self.report.rejected.first()?;
        self.logged = true;
        let index = self.received - (batch.len() - index) as u64;
        Some(status::refused_in_stream(refusal, ReadingPosition { index, stored: self.stored }))
    }

    /// The answer to a complete stream.
    pub(super) fn ack(&mut self) -> Ack {
        self.logged = true;
        let mut message = format!("stored {}", pluralize(self.stored, "reading"));
        if self.evicted > 0 {
            let _ = write!(message, "; {} evicted", pluralize(self.evicted, "older reading"));
        }
        if self.alerts > 0 {
            let _ = write!(message, "; {} raised", pluralize(self.alerts, "alert"));
        }
        Ack { message, accepted: Some(self.stored) }
    }

    /// The status for a stream that ends by `stop`.
    pub(super) fn stopped(&mut self, stop: StreamEnd) -> Status {
        self.logged = !matches!(stop, StreamEnd::Broken(_) | StreamEnd::Ended(EndReason::Deadline));
        match stop {
            StreamEnd::Complete => Status::ok(""),
            StreamEnd::Invalid(invalid) => {
                self.core.metrics.invalid(invalid);
                status::invalid_in_stream(
                    invalid,
                    ReadingPosition { index: self.received, stored: self.stored },
                )
            }
            StreamEnd::Unreadable(status) => status::with_stored(&status, self.stored),
            StreamEnd::Broken(error) => {
                Status::cancelled(format!("the stream was aborted: {error}; {}", stored_summary(self.stored)))
            }
            StreamEnd::Ended(reason) => status::ended(reason, Some(self.stored)),
        }
    }
}

impl Drop for StreamTally {
    fn drop(&mut self) {
        if !self.logged {
            let _current = self.context.clone().attach();
            self.core.metrics.stream_aborted(self.method);
            // Callers may abort any number of streams, so the log is rate-limited.
            let Some(streams) = ABORT_LOG.record() else { return };
            tracing::info!(
                streams,
                method = self.method.as_str(),
                stored = self.stored,
                caller = self.caller.as_deref(),
                "stream aborted; stored readings are kept"
            );
        }
    }
}
