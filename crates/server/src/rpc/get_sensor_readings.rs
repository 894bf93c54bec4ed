use std::{future::poll_fn, sync::Arc, task::Poll};

use http::HeaderMap;
use kelvin_proto::SensorRequest;
use kelvin_store::{Query, Reader, Reading, StoreError};
use prost::Message as _;
use tonic::{Status, metadata::MetadataValue};

use super::{core::Core, request_message::single};
use crate::{
    end_reason::EndReason,
    lifetime::Lifetime,
    status,
    validate::check_sensor_id,
    wire::{Messages, Reply, RequestBody, ResponseWriter, Template, stream, trailers},
};

/// Trailer that says how many readings went to make room before this call came to them.
pub(super) const MISSED: &str = "kelvin-evicted-unread";

/// Streams the stored readings of a sensor in order of arrival.
pub(super) async fn get_sensor_readings(
    core: Arc<Core>,
    messages: Messages<impl RequestBody>,
    mut lifetime: Lifetime,
) -> Result<Reply, Status> {
    let request = lifetime
        .limit(single(messages, |message| SensorRequest::decode(message)))
        .await
        .map_err(|reason| status::ended(reason, None))??;
    let SensorRequest { sensor_id, since, until, limit, follow } = request;
    check_sensor_id(&sensor_id).map_err(status::invalid)?;
    let query = Query { since, until, limit, follow };
    let reader =
        core.store.read(&sensor_id, query).await.map_err(|error| status::store_error(&error, None))?;
    let transfer = Transfer { message: Template::reading(&sensor_id), reader, lifetime, follow };
    Ok(stream(transfer.lifetime.credentials(), |out| transfer.run(out)))
}

/// A sensor's readings on their way to a caller.
struct Transfer {
    message: Template,
    reader: Reader,
    lifetime: Lifetime,
    follow: bool,
}

impl Transfer {
    async fn run(mut self, mut out: ResponseWriter) -> HeaderMap {
        let mut status = match self.copy(&mut out).await {
            Ok(()) => Status::ok(""),
            Err(status) => status,
        };
        out.flush().await;
        let missed = self.reader.missed();
        if missed > 0 {
            status.metadata_mut().insert(MISSED, MetadataValue::from(missed));
        }
        trailers(&status)
    }

    async fn copy(&mut self, out: &mut ResponseWriter) -> Result<(), Status> {
        let mut chunk = Vec::new();
        let length = self.message.max_length();
        loop {
            chunk.clear();
            if self.follow {
                // A call may follow for long, and holds no memory of earlier readings while it waits.
                chunk = Vec::new();
            }
            let more = match self.next(&mut chunk, out).await {
                Ok(more) => more.map_err(|error| status::store_error(&error, None))?,
                // A caller that follows does not expect an end, so these are ends without an error.
                Err(EndReason::Age | EndReason::Drain) if self.follow => return Ok(()),
                Err(reason) => return Err(status::ended(reason, None)),
            };
            let mut left = &chunk[..];
            while !left.is_empty() {
                left = out.reserve(length).await.put_readings(&mut self.message, left);
            }
            if !more {
                return Ok(());
            }
        }
    }

    /// The next readings, unless the call has to end. What is written is sent before there is a wait.
    async fn next(
        &mut self,
        chunk: &mut Vec<Reading>,
        out: &mut ResponseWriter,
    ) -> Result<Result<bool, StoreError>, EndReason> {
        let mut next = std::pin::pin!(self.reader.next(chunk));
        poll_fn(|cx| {
            if let Poll::Ready(reason) = self.lifetime.poll_ended(cx) {
                return Poll::Ready(Err(reason));
            }
            let polled = next.as_mut().poll(cx);
            if polled.is_pending() {
                out.try_flush();
            }
            polled.map(Ok)
        })
        .await
    }
}
