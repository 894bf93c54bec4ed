use std::sync::Arc;

use kelvin_app::unix_now;
use kelvin_proto::{ServerMessage, Severity};
use kelvin_store::{Batch, Outcome, Report};
use tonic::Status;

use super::{
    core::Core,
    ingest::{Ingest, OnInvalid, StreamEnd},
    stream_tally::StreamTally,
};
use crate::{
    end_reason::EndReason,
    lifetime::Lifetime,
    metrics::StreamMethod,
    status::reject_text,
    validate::Invalid,
    wire::{Messages, Reply, RequestBody, ResponseWriter, Template, stream, trailers},
};

/// Bytes that are enough for any response message: the longest text is that of an alert.
const LONGEST: usize = 512;

/// Answers each reading while more arrive.
pub(super) fn sensor_chat(
    core: Arc<Core>,
    messages: Messages<impl RequestBody>,
    lifetime: Lifetime,
) -> Reply {
    stream(lifetime.credentials(), async |mut out| {
        let status = chat(core, messages, lifetime, &mut out).await;
        out.flush().await;
        trailers(&status)
    })
}

async fn chat(
    core: Arc<Core>,
    messages: Messages<impl RequestBody>,
    lifetime: Lifetime,
    out: &mut ResponseWriter,
) -> Status {
    let mut tally = StreamTally::new(Arc::clone(&core), StreamMethod::SensorChat, lifetime.caller());
    let mut ingest = Ingest::new(messages, lifetime, OnInvalid::Skip);
    loop {
        let stop = ingest.read_batch(&core, || _ = out.try_flush()).await;
        let accepted = tally.stored;
        if let Err(status) = tally.append(&ingest.batch).await {
            return status;
        }
        for (_, invalid) in &ingest.invalid {
            core.metrics.invalid(*invalid);
        }
        let mut responder = Responder { out, server_time: unix_now(), accepted };
        responder.acknowledge(&ingest.batch, &ingest.invalid, &tally.report).await;
        match stop {
            None => {}
            // Not an error: what is acknowledged is stored, and the caller sends the rest in a new call.
            Some(stop @ StreamEnd::Ended(EndReason::Age | EndReason::Drain)) => {
                tally.stopped(stop);
                return Status::ok("");
            }
            Some(stop) => return tally.stopped(stop),
        }
    }
}

/// Writes one response message for each reading.
struct Responder<'a> {
    out: &'a mut ResponseWriter,
    server_time: i64,
    accepted: u64,
}

impl Responder<'_> {
    /// Answers in the order of the readings.
    async fn acknowledge(&mut self, batch: &Batch, invalid: &[(usize, Invalid)], report: &Report) {
        if report.rejected.is_empty() && report.alerts.is_empty() && invalid.is_empty() {
            return self.acknowledge_all(batch.len()).await;
        }
        let mut ack = Template::stored_ack(self.server_time);
        let mut invalid = invalid.iter().peekable();
        for index in 0..batch.len() {
            while let Some((_, invalid)) = invalid.next_if(|(before, _)| *before == index) {
                self.reject(*invalid).await;
            }
            match report.outcome(index) {
                Outcome::Stored(None) => {
                    self.out.reserve(LONGEST).await.put_acks(&mut ack, self.accepted, 1);
                    self.accepted += 1;
                }
                Outcome::Stored(Some(alert)) => {
                    self.accepted += 1;
                    self.send(Severity::Alert, alert.to_string()).await;
                }
                Outcome::Rejected(refusal) => {
                    self.send(Severity::Rejected, reject_text(refusal).to_owned()).await;
                }
            }
        }
        for (_, invalid) in invalid {
            self.reject(*invalid).await;
        }
    }

    /// Answers in the common case: every reading is stored and none raises an alert.
    async fn acknowledge_all(&mut self, mut count: usize) {
        let mut ack = Template::stored_ack(self.server_time);
        while count > 0 {
            let written = self.out.reserve(ack.max_length()).await.put_acks(&mut ack, self.accepted, count);
            self.accepted += written as u64;
            count -= written;
        }
    }

    async fn reject(&mut self, invalid: Invalid) {
        self.send(Severity::Rejected, invalid.to_string()).await;
    }

    async fn send(&mut self, severity: Severity, message: String) {
        let (server_time, accepted) = (self.server_time, Some(self.accepted));
        let answer = ServerMessage { message, server_time, severity: Some(severity.into()), accepted };
        self.out.reserve(LONGEST).await.put(&answer);
    }
}
