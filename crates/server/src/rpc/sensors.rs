//! `GetSensorStats` and `ListSensors`.

use std::sync::Arc;

use kelvin_proto::{ListSensorsRequest, ListSensorsResponse, SensorReading, SensorStats, SensorStatsRequest};
use kelvin_store::Stats;
use prost::Message as _;
use tonic::Status;

use super::{core::Core, single};
use crate::{
    status,
    validate::check_sensor_id,
    wire::{Messages, Reply, RequestBody, message},
};

/// Sensors on a page where the caller does not say.
const PAGE: u32 = 100;
/// Sensors on a page at most.
const MAX_PAGE: u32 = 1000;

/// Statistics of one sensor since it was first seen.
pub(super) async fn get_sensor_stats(
    core: Arc<Core>,
    messages: Messages<impl RequestBody>,
) -> Result<Reply, Status> {
    let request = single(messages, |message| SensorStatsRequest::decode(message)).await?;
    check_sensor_id(&request.sensor_id).map_err(status::invalid)?;
    let stats = core.store.stats(&request.sensor_id).await;
    match stats.map_err(|error| status::store_error(&error, None))? {
        Some(stats) => Ok(message(&to_proto(request.sensor_id, &stats))),
        None => Err(Status::not_found("unknown sensor_id: it has no stored readings")),
    }
}

/// Statistics of all sensors, in pages.
pub(super) async fn list_sensors(
    core: Arc<Core>,
    messages: Messages<impl RequestBody>,
) -> Result<Reply, Status> {
    let request = single(messages, |message| ListSensorsRequest::decode(message)).await?;
    let size = if request.page_size == 0 { PAGE } else { request.page_size.min(MAX_PAGE) };
    let page = core.store.list(&request.page_token, size as usize).await;
    let page = page.map_err(|error| status::store_error(&error, None))?;
    Ok(message(&ListSensorsResponse {
        sensors: page.sensors.into_iter().map(|(sensor_id, stats)| to_proto(sensor_id, &stats)).collect(),
        next_page_token: page.next.unwrap_or_default(),
    }))
}

fn to_proto(sensor_id: String, stats: &Stats) -> SensorStats {
    let Stats { last, .. } = *stats;
    let last = SensorReading {
        sensor_id: sensor_id.clone(),
        temperature: last.temperature,
        timestamp: last.timestamp,
    };
    SensorStats {
        sensor_id,
        count: stats.count,
        mean: stats.mean,
        min: stats.min,
        max: stats.max,
        standard_deviation: stats.standard_deviation,
        last: Some(last),
        recent_mean: stats.recent_mean,
        recent_count: stats.recent_count,
        held: stats.held,
        alerts: stats.alerts,
        alerting: stats.alerting,
    }
}
