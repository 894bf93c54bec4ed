//! `SensorChat`: readings up, an answer to each down.

use futures_util::StreamExt as _;
use kelvin_proto::{ServerMessage, Severity};
use tokio::time::timeout;
use tonic::{Status, Streaming};

use super::Kind;
use crate::session::Session;

/// Sends readings as they are measured and hears of each.
#[derive(Debug)]
pub(crate) struct BidiStreaming;

impl Kind for BidiStreaming {
    async fn call(&mut self, session: &Session, _: bool) -> Result<(), Status> {
        let length = session.stream_duration();
        let readings = session.outbox.readings().take_until(session.stream_end(length));
        let request = session.stream(Box::pin(readings), length);
        let mut answers = session.client().sensor_chat(request).await?.into_inner();
        let mut severities = false;
        while let Some(answer) = next(session, &mut answers).await? {
            severities |= answer.severity.is_some();
            take(session, &answer);
        }
        if !severities {
            // A server of old that ends a chat well has stored all of it, however many answers it gave.
            session.outbox.acknowledge(session.outbox.in_flight());
        }
        Ok(())
    }
}

/// The next answer. A server that leaves readings unanswered for as long as the deadline has gone astray.
async fn next(
    session: &Session,
    answers: &mut Streaming<ServerMessage>,
) -> Result<Option<ServerMessage>, Status> {
    loop {
        let unanswered = session.outbox.in_flight();
        match timeout(session.config.deadline, answers.message()).await {
            Ok(answer) => return answer,
            Err(_) if unanswered == 0 => {}
            Err(_) => {
                return Err(Status::deadline_exceeded("no response to sent readings within KELVIN_DEADLINE"));
            }
        }
    }
}

/// Answers come in the order of the readings.
fn take(session: &Session, answer: &ServerMessage) {
    session.progress.record_success();
    match answer.severity.map(|severity| Severity::try_from(severity).unwrap_or_default()) {
        Some(Severity::Rejected) => session.outbox.reject(1, &answer.message),
        Some(Severity::Alert) => {
            tracing::info!(alert = answer.message, "alert received from the server");
            session.metrics.alert();
            session.outbox.acknowledge(1);
        }
        Some(Severity::Status) | None => session.outbox.acknowledge(1),
    }
}
