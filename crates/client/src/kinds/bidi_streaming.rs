//! `SensorChat`: a stream of readings, with a response to each.

use futures_util::StreamExt as _;
use kelvin_proto::{ServerMessage, Severity};
use tokio::time::timeout;
use tonic::{Status, Streaming};

use super::kind::Kind;
use crate::session::Session;

/// Sends readings as they are taken and receives a response to each.
#[derive(Debug)]
pub(crate) struct BidiStreaming;

impl Kind for BidiStreaming {
    async fn call(&mut self, session: &Session, _: bool) -> Result<(), Status> {
        let length = session.stream_duration();
        let readings = session.outbox.readings().take_until(session.stream_end(length));
        let request = session.stream_request(Box::pin(readings), length);
        let mut responses = session.client().sensor_chat(request).await?.into_inner();
        let mut severities = false;
        while let Some(response) = next_response(session, &mut responses).await? {
            severities |= response.severity.is_some();
            handle_response(session, &response);
        }
        if !severities {
            // An old server that ends a chat with OK has stored all of it, however many responses it gave.
            session.outbox.acknowledge(session.outbox.in_flight());
        }
        Ok(())
    }
}

/// Returns the next response. A server that leaves readings unanswered for as long as the deadline has failed.
async fn next_response(
    session: &Session,
    responses: &mut Streaming<ServerMessage>,
) -> Result<Option<ServerMessage>, Status> {
    loop {
        let unanswered = session.outbox.in_flight();
        match timeout(session.config.deadline, responses.message()).await {
            Ok(response) => return response,
            Err(_) if unanswered == 0 => {}
            Err(_) => {
                return Err(Status::deadline_exceeded("no response to sent readings within KELVIN_DEADLINE"));
            }
        }
    }
}

/// Responses come in the order of the readings.
fn handle_response(session: &Session, response: &ServerMessage) {
    session.progress.record_success();
    match response.severity.map(|severity| Severity::try_from(severity).unwrap_or_default()) {
        Some(Severity::Rejected) => session.outbox.reject(1, &response.message),
        Some(Severity::Alert) => {
            tracing::info!(alert = response.message, "alert received from the server");
            session.metrics.alert();
            session.outbox.acknowledge(1);
        }
        Some(Severity::Status) | None => session.outbox.acknowledge(1),
    }
}
