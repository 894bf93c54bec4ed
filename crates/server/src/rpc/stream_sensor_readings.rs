use std::sync::Arc;

use tonic::Status;

use super::{
    ingest::{Ingest, OnInvalid, Stop},
    lifetime::Lifetime,
    progress::Progress,
    service::Core,
};
use crate::wire::{Reply, RequestBody, message};

/// Stores each reading as it arrives and answers with how many.
pub(super) async fn stream_sensor_readings(
    core: Arc<Core>,
    body: impl RequestBody,
    lifetime: Lifetime,
) -> Result<Reply, Status> {
    let mut progress = Progress::new(Arc::clone(&core), "SensorService/StreamSensorReadings");
    let mut ingest = Ingest::new(&core, body, lifetime, OnInvalid::Stop);
    loop {
        let stop = ingest.gather(&core, || ()).await;
        progress.append(&ingest.batch).await?;
        if let Some(status) = progress.refused(&ingest.batch) {
            return Err(status);
        }
        match stop {
            None => {}
            Some(Stop::Complete) => return Ok(message(&progress.ack())),
            Some(stop) => return Err(progress.stopped(stop)),
        }
    }
}
