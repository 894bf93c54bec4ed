//! `StreamSensorReadings`: many readings in a call, and one answer.

use futures_util::StreamExt as _;
use tonic::Status;

use super::kind::Kind;
use crate::session::Session;

/// Sends readings as they are measured, and ends the stream periodically to learn how many are stored.
#[derive(Debug)]
pub(crate) struct ClientStreaming;

impl Kind for ClientStreaming {
    async fn call(&mut self, session: &Session, probe: bool) -> Result<(), Status> {
        let outbox = &session.outbox;
        let length = session.stream_duration();
        // Whatever awaits its acknowledgement takes room of those that are measured meanwhile.
        let max_readings = if probe { 1 } else { session.config.backlog.div_ceil(2) };
        let readings = outbox.readings().take(max_readings).take_until(session.stream_end(length));
        let request = session.stream_request(Box::pin(readings), length);
        match session.client().stream_sensor_readings(request).await.map(|ack| ack.into_inner().accepted) {
            // A server that knows no `accepted` has stored all.
            Ok(accepted) => {
                let all = outbox.in_flight();
                outbox.acknowledge(accepted.map_or(all, |n| usize::try_from(n).unwrap_or(all)));
                Ok(())
            }
            Err(status) => session.apply_outcome(status),
        }
    }
}
