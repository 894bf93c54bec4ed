use std::sync::Arc;

use tonic::Status;

use super::{
    core::Core,
    ingest::{Ingest, OnInvalid, StreamEnd},
    stream_tally::StreamTally,
};
use crate::{
    lifetime::Lifetime,
    metrics::StreamMethod,
    wire::{Messages, Reply, RequestBody, message},
};

/// Stores each reading as it arrives and returns the number stored.
pub(super) async fn stream_sensor_readings(
    core: Arc<Core>,
    messages: Messages<impl RequestBody>,
    lifetime: Lifetime,
) -> Result<Reply, Status> {
    let mut tally =
        StreamTally::new(Arc::clone(&core), StreamMethod::StreamSensorReadings, lifetime.caller());
    let mut ingest = Ingest::new(messages, lifetime, OnInvalid::Abort);
    loop {
        let stop = ingest.read_batch(&core, || ()).await;
        tally.append(&ingest.batch).await?;
        if let Some(status) = tally.refused(&ingest.batch) {
            return Err(status);
        }
        match stop {
            None => {}
            Some(StreamEnd::Complete) => return Ok(message(&tally.ack())),
            Some(stop) => return Err(tally.stopped(stop)),
        }
    }
}
