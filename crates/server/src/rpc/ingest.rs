//! Reads the readings of a request body in batches.

use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll},
};

use kelvin_proto::FrameError;
use kelvin_store::Batch;
use tonic::{Status, codegen::StdError};

use super::{
    core::Core,
    request_message::{malformed, truncated_message},
};
use crate::{
    end_reason::EndReason,
    lifetime::Lifetime,
    validate::{Invalid, check_reading, latest_timestamp},
    wire::{DecodeError, Deframer, GunzipError, Messages, RequestBody, read_reading},
};

/// The maximum size of a batch; more readings go into the next one.
const MAX_BATCH: usize = 2048;

/// Takes readings from a stream.
#[derive(Debug)]
pub(super) struct Ingest<B> {
    body: B,
    deframer: Deframer,
    lifetime: Lifetime,
    on_invalid: OnInvalid,
    /// The valid readings of the last batch.
    pub(super) batch: Batch,
    /// The invalid ones, each with the number of valid ones before it.
    pub(super) invalid: Vec<(usize, Invalid)>,
}

/// The effect of an invalid reading on its stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OnInvalid {
    Abort,
    Skip,
}

/// The reason why a stream has no more readings.
#[derive(Debug)]
pub(super) enum StreamEnd {
    /// The caller has half-closed the stream.
    Complete,
    Invalid(Invalid),
    /// The caller sent a malformed message.
    Unreadable(Status),
    /// The connection or the stream broke off.
    Broken(StdError),
    Ended(EndReason),
}

impl<B: RequestBody> Ingest<B> {
    pub(super) fn new(messages: Messages<B>, lifetime: Lifetime, on_invalid: OnInvalid) -> Self {
        let Messages { body, deframer } = messages;
        Self { body, deframer, lifetime, on_invalid, batch: Batch::default(), invalid: Vec::new() }
    }

    /// Waits for readings and takes all that have arrived, at most [`MAX_BATCH`]. A [`StreamEnd`] is final; the batch still
    /// has the readings that came before it.
    ///
    /// `before_waiting` is a callback because only this poll knows that nothing has arrived and the call is about to wait: a
    /// chat then sends the answers in its partly filled frame, which otherwise grows as long as readings arrive.
    pub(super) async fn read_batch(
        &mut self,
        core: &Core,
        mut before_waiting: impl FnMut(),
    ) -> Option<StreamEnd> {
        self.batch.clear();
        self.invalid.clear();
        poll_fn(|cx| {
            if let Poll::Ready(reason) = self.lifetime.poll_ended(cx) {
                return Poll::Ready(Some(StreamEnd::Ended(reason)));
            }
            let latest = latest_timestamp(core.max_clock_skew);
            match self.read_frames(latest, cx) {
                Poll::Ready(stop) => Poll::Ready(Some(stop)),
                Poll::Pending if self.batch.is_empty() && self.invalid.is_empty() => {
                    before_waiting();
                    Poll::Pending
                }
                Poll::Pending => Poll::Ready(None),
            }
        })
        .await
    }

    /// Takes the frames that have arrived; pending when there are no more or the batch is full.
    fn read_frames(&mut self, latest: i64, cx: &mut Context<'_>) -> Poll<StreamEnd> {
        while self.batch.len() + self.invalid.len() < MAX_BATCH {
            match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Pending => break,
                Poll::Ready(Some(Ok(frame))) => {
                    if let Some(data) = frame.data_ref()
                        && let Err(stop) = self.push(data, latest)
                    {
                        return Poll::Ready(stop);
                    }
                }
                Poll::Ready(Some(Err(error))) => return Poll::Ready(StreamEnd::Broken(error.into())),
                Poll::Ready(None) if self.deframer.is_between_messages() => {
                    return Poll::Ready(StreamEnd::Complete);
                }
                Poll::Ready(None) => return Poll::Ready(StreamEnd::Unreadable(truncated_message())),
            }
        }
        Poll::Pending
    }

    fn push(&mut self, data: &[u8], latest: i64) -> Result<(), StreamEnd> {
        let Self { deframer, batch, invalid, on_invalid, .. } = self;
        deframer.feed(data, |message| {
            read_reading(message, |sensor_id, reading| {
                match (check_reading(sensor_id, reading, latest), *on_invalid) {
                    (Ok(()), _) => batch.push(sensor_id, reading),
                    (Err(wrong), OnInvalid::Skip) => invalid.push((batch.len(), wrong)),
                    (Err(wrong), OnInvalid::Abort) => return Err(StreamEnd::Invalid(wrong)),
                }
                Ok(())
            })?
        })
    }
}

impl From<FrameError> for StreamEnd {
    fn from(error: FrameError) -> Self {
        Self::Unreadable(error.into())
    }
}

impl From<GunzipError> for StreamEnd {
    fn from(error: GunzipError) -> Self {
        Self::Unreadable(error.into())
    }
}

impl From<DecodeError> for StreamEnd {
    fn from(error: DecodeError) -> Self {
        Self::Unreadable(malformed(&error))
    }
}
