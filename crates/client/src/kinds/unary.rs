//! `SendSingleReading`: a call for each reading.

use std::time::Duration;

use tonic::Status;

use super::kind::Kind;
use crate::session::Session;

/// Sends one reading a call.
#[derive(Debug)]
pub(crate) struct Unary;

impl Kind for Unary {
    async fn call(&mut self, session: &Session, _: bool) -> Result<(), Status> {
        let outbox = &session.outbox;
        let Some(reading) = outbox.next().await else { return Ok(()) };
        // A reading that comes twice is stored twice, which is better than not at all.
        let request = session.retryable_request(reading, Duration::ZERO);
        match session.client().send_single_reading(request).await.map(|ack| ack.into_inner().accepted) {
            Ok(Some(0)) => outbox.reject(1, "the server stored nothing"),
            // A server that knows no `accepted` has stored it.
            Ok(_) => outbox.acknowledge(1),
            Err(status) => return session.apply_outcome(status),
        }
        Ok(())
    }
}
