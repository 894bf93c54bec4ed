use std::{num::NonZeroU64, sync::Arc};

use http::HeaderMap;
use kelvin_proto::{AggregateRequest, SensorAggregate};
use kelvin_store::{Aggregate, AggregateQuery, MAX_WINDOWS, StoreError, Window};
use prost::Message as _;
use tokio::sync::Semaphore;
use tonic::{Status, metadata::MetadataValue};

use super::{core::Core, get_sensor_readings::MISSED, request_message::single};
use crate::{
    connections::HandlerMemory,
    lifetime::Lifetime,
    status,
    validate::{Invalid, check_sensor_id},
    wire::{Messages, Reply, RequestBody, ResponseWriter, stream, trailers},
};

/// Bytes of a window at most: six tags, two varints and four doubles.
const MAX_LENGTH: usize = 6 + 2 * 10 + 4 * 8;

/// Windows of an answer that are kept in one block. Blocks of 48 KiB take the places of earlier ones in the allocator; a whole
/// answer often does not, because smaller objects have taken a part of the place: with callers that do not read, the server
/// grew by up to 214 MiB, and with these blocks by 147 MiB (`make hostile HOSTILE_SECONDS=10 HOSTILE_ARGS="--case
/// unread_aggregates"`).
const BLOCK: usize = 1024;

/// Calls of the process that sum up at the same time: each takes up to 2 MB, which counts against no budget.
static COMPUTING: Semaphore = Semaphore::const_new(8);

/// Sums up what is stored of a sensor in windows of time.
pub(super) async fn aggregate_sensor_readings(
    core: Arc<Core>,
    messages: Messages<impl RequestBody>,
    mut lifetime: Lifetime,
) -> Result<Reply, Status> {
    let aggregate = lifetime.limit(aggregate(&core, messages)).await;
    let Aggregate { windows, evicted } = aggregate.map_err(|reason| status::ended(reason, None))??;
    let memory = HandlerMemory(size_of_val(&windows[..]));
    let windows = windows.chunks(BLOCK).map(Box::from).collect();
    let mut reply = stream(lifetime.credentials(), |out| send(out, lifetime, windows, evicted));
    reply.extensions_mut().insert(memory);
    Ok(reply)
}

async fn aggregate(core: &Core, messages: Messages<impl RequestBody>) -> Result<Aggregate, Status> {
    let request = single(messages, |message| AggregateRequest::decode(message)).await?;
    check_sensor_id(&request.sensor_id).map_err(status::invalid)?;
    let query = query(&request)?;
    let _permit = COMPUTING.acquire().await.expect("it is never closed");
    let aggregate = core.store.aggregate(&request.sensor_id, &query).await;
    aggregate.map_err(|error| status::store_error(&error, None))
}

fn query(request: &AggregateRequest) -> Result<AggregateQuery, Status> {
    let AggregateRequest { since, until, step, .. } = *request;
    let step = u64::try_from(step).ok().and_then(NonZeroU64::new);
    let step = step.ok_or_else(|| status::invalid(Invalid::ShortStep(request.step)))?;
    // A range that is too long for the step is refused whatever the sensor holds, so that a caller learns it early.
    if let (Some(since), Some(until)) = (since, until)
        && until > since
        && until.abs_diff(since).div_ceil(step.get()) > MAX_WINDOWS as u64
    {
        return Err(status::store_error(&StoreError::TooManyWindows, None));
    }
    Ok(AggregateQuery { since, until, step })
}

async fn send(
    mut out: ResponseWriter,
    mut lifetime: Lifetime,
    windows: Vec<Box<[Window]>>,
    evicted: u64,
) -> HeaderMap {
    let written = lifetime.limit(async {
        for window in windows.iter().flatten() {
            out.reserve(MAX_LENGTH).await.put(&to_proto(window));
        }
        out.flush().await;
    });
    let mut status = match written.await {
        Ok(()) => Status::ok(""),
        Err(reason) => status::ended(reason, None),
    };
    if evicted > 0 {
        status.metadata_mut().insert(MISSED, MetadataValue::from(evicted));
    }
    trailers(&status)
}

fn to_proto(window: &Window) -> SensorAggregate {
    let Window { start, count, mean, min, max, standard_deviation } = *window;
    SensorAggregate { start, count, mean, min, max, standard_deviation }
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    #[test]
    fn windows_fit_into_their_reserved_length() {
        let most = SensorAggregate {
            start: -1,
            count: u64::MAX,
            mean: 1.0,
            min: 1.0,
            max: 1.0,
            standard_deviation: 1.0,
        };
        assert_eq!(most.encoded_len(), MAX_LENGTH);
    }

    #[test]
    fn range_of_too_many_windows_is_rejected() {
        let request =
            |since, until, step| AggregateRequest { since, until, step, ..AggregateRequest::default() };
        for step in [0, -1, i64::MIN] {
            assert_eq!(
                query(&request(None, None, step)).unwrap_err().code(),
                Code::InvalidArgument,
                "{step}"
            );
        }
        for (since, until, step, fits) in [
            (0, 11_000, 1, true),
            (0, 11_001, 1, false),
            (0, 11_001, 2, true),
            (i64::MIN, i64::MAX, i64::MAX, true),
            (i64::MIN, i64::MAX, 1, false),
            (10, 0, 1, true),
        ] {
            assert_eq!(
                query(&request(Some(since), Some(until), step)).is_ok(),
                fits,
                "{since} {until} {step}"
            );
        }
    }
}
