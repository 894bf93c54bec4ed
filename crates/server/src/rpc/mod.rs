//! The calls of `SensorService`, one file each, and what stands around them.

mod aggregate_sensor_readings;
mod auth;
mod get_sensor_readings;
mod ingest;
mod lifetime;
mod progress;
mod send_single_reading;
mod sensor_chat;
mod sensors;
mod service;
mod stream_sensor_readings;

pub(crate) use auth::{Authenticate, Gate};
pub(crate) use lifetime::{Bounded, Ending, jittered};
pub(crate) use service::{Companion, Core, Rpc, panicked};

use std::{future::poll_fn, pin::Pin};

use tonic::Status;

use crate::wire::{DecodeError, Deframer, RequestBody};

/// The only message of a request.
async fn single<B: RequestBody, T>(
    mut body: B,
    max_length: usize,
    read: impl Fn(&[u8]) -> Result<T, DecodeError>,
) -> Result<T, Status> {
    let mut deframer = Deframer::new(max_length);
    let mut only = None;
    while !body.is_end_stream()
        && let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await
    {
        let broken = |error: B::Error| Status::cancelled(format!("the request broke off: {}", error.into()));
        let Ok(data) = frame.map_err(broken)?.into_data() else { continue };
        deframer.feed(&data, |message| {
            if only.is_some() {
                return Err(Status::internal("this call takes one message, and there is a second"));
            }
            only = Some(read(message).map_err(|error| malformed(&error))?);
            Ok(())
        })?;
    }
    if !deframer.is_between_messages() {
        return Err(cut_off());
    }
    only.ok_or_else(|| Status::internal("this call takes one message, and there is none"))
}

fn malformed(error: &DecodeError) -> Status {
    Status::internal(format!("a message is not of this call's type: {error}"))
}

fn cut_off() -> Status {
    Status::internal("the request ends in the middle of a message")
}
