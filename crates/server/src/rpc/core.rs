use std::{convert::Infallible, sync::Arc, time::Duration};

use http::{Request, Response};
use kelvin_store::{Batch, Reading, Report, Store, StoreError};
use tower::util::BoxCloneSyncService;

use crate::{caller::Interrupts, connections::Turns, metrics::Metrics};

/// The state that the calls of one runtime share.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) store: Store,
    pub(crate) metrics: Arc<Metrics>,
    /// Bytes of the longest message taken.
    pub(crate) max_message_size: usize,
    pub(crate) max_clock_skew: Duration,
    pub(crate) max_stream_age: Duration,
    pub(crate) interrupts: Arc<Interrupts>,
    pub(crate) turns: Turns,
    /// Services beside `SensorService`.
    pub(crate) auxiliary_services: Vec<AuxiliaryService>,
}

/// A service that a library provides, such as health.
#[derive(Debug, Clone)]
pub(crate) struct AuxiliaryService {
    /// `/package.Service/`
    pub(crate) prefix: &'static str,
    pub(crate) service:
        BoxCloneSyncService<Request<tonic::body::Body>, Response<tonic::body::Body>, Infallible>,
}

/// Bytes of the longest request without readings that is taken. It stays in memory until the caller ends the stream, and
/// the memory budget counts what arrived: compressed, that may be less than a hundredth of it.
const MAX_QUERY_SIZE: usize = 4096;

impl Core {
    /// Returns the bytes of the longest request without readings.
    pub(super) fn max_query_size(&self) -> usize {
        self.max_message_size.min(MAX_QUERY_SIZE)
    }

    /// Stores a batch and counts what came of it.
    pub(super) async fn append(&self, batch: &Batch, report: &mut Report) -> Result<(), StoreError> {
        let result = self.store.append(batch, report).await;
        // One of a batch shows the spread; measuring each would cost as much as storing it.
        self.metrics.appended(batch.iter().next().map(|(_, reading)| reading), report);
        result
    }

    /// Stores one reading and counts what came of it.
    pub(super) async fn append_one(
        &self,
        sensor_id: &str,
        reading: Reading,
        report: &mut Report,
    ) -> Result<(), StoreError> {
        let result = self.store.append_one(sensor_id, reading, report).await;
        self.metrics.appended(Some(reading), report);
        result
    }
}
