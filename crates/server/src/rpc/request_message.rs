//! The one message of a request, and the statuses of malformed ones.

use std::{future::poll_fn, pin::Pin};

use tonic::Status;

use crate::wire::{DecodeError, Messages, RequestBody};

/// Returns the only message of a request.
pub(super) async fn single<B: RequestBody, T>(
    Messages { mut body, mut deframer }: Messages<B>,
    read: impl Fn(&[u8]) -> Result<T, DecodeError>,
) -> Result<T, Status> {
    let mut only = None;
    while !body.is_end_stream()
        && let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await
    {
        let broken =
            |error: B::Error| Status::cancelled(format!("the request stream was aborted: {}", error.into()));
        let Ok(data) = frame.map_err(broken)?.into_data() else { continue };
        deframer.feed(&data, |message| {
            if only.is_some() {
                return Err(Status::internal("unary call received more than one message"));
            }
            only = Some(read(message).map_err(|error| malformed(&error))?);
            Ok(())
        })?;
    }
    if !deframer.is_between_messages() {
        return Err(truncated_message());
    }
    only.ok_or_else(|| Status::internal("unary call received no message"))
}

pub(super) fn malformed(error: &DecodeError) -> Status {
    Status::internal(format!("cannot decode the request message: {error}"))
}

pub(super) fn truncated_message() -> Status {
    Status::internal("the request ends in the middle of a message")
}
