//! `GetSensorStats` and `ListSensors`.

use std::sync::Arc;

use kelvin_proto::{
    ListSensorsRequest, ListSensorsResponse, SensorReading, SensorStats, SensorStatsRequest,
    lookups::sensor_service_server::{SensorService, SensorServiceServer},
};
use kelvin_store::Stats;
use tonic::{Request, Response, Status, codec::CompressionEncoding};

use super::core::Core;
use crate::{status, validate::check_sensor_id};

/// Sensors on a page where the caller does not say.
const PAGE: u32 = 100;
/// Sensors on a page at most.
const MAX_PAGE: u32 = 1000;

/// Statistics of one sensor and of all: calls so rare that tonic's generated service is fast enough.
#[derive(Debug)]
pub(super) struct Sensors(Arc<Core>);

impl Sensors {
    pub(super) fn service(core: Arc<Core>) -> SensorServiceServer<Self> {
        let max_size = core.max_query_size();
        SensorServiceServer::new(Self(core))
            .accept_compressed(CompressionEncoding::Gzip)
            .max_decoding_message_size(max_size)
    }
}

#[tonic::async_trait]
impl SensorService for Sensors {
    async fn get_sensor_stats(
        &self,
        request: Request<SensorStatsRequest>,
    ) -> Result<Response<SensorStats>, Status> {
        let SensorStatsRequest { sensor_id } = request.into_inner();
        check_sensor_id(&sensor_id).map_err(status::invalid)?;
        let stats = self.0.store.stats(&sensor_id).await;
        match stats.map_err(|error| status::store_error(&error, None))? {
            Some(stats) => Ok(Response::new(to_proto(sensor_id, &stats))),
            None => Err(Status::not_found("unknown sensor_id: it has no stored readings")),
        }
    }

    async fn list_sensors(
        &self,
        request: Request<ListSensorsRequest>,
    ) -> Result<Response<ListSensorsResponse>, Status> {
        let ListSensorsRequest { page_size, page_token } = request.into_inner();
        let size = if page_size == 0 { PAGE } else { page_size.min(MAX_PAGE) };
        let page = self.0.store.list(&page_token, size as usize).await;
        let page = page.map_err(|error| status::store_error(&error, None))?;
        Ok(Response::new(ListSensorsResponse {
            sensors: page.sensors.into_iter().map(|(sensor_id, stats)| to_proto(sensor_id, &stats)).collect(),
            next_page_token: page.next.unwrap_or_default(),
        }))
    }
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
