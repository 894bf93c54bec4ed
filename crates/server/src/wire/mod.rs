//! gRPC over HTTP/2 DATA frames, read and written many messages at a time.

mod deframer;
mod outgoing;
mod reading;
mod reply;

pub(crate) use deframer::{Deframer, FrameError};
pub(crate) use outgoing::{Outgoing, ReadingStart};
pub(crate) use reading::{DecodeError, read_reading};
pub(crate) use reply::{
    BoxFuture, Reply, ReplyBody, RequestBody, failure, framed, message, stream, trailers,
};

/// A compressed flag and a big-endian length stand before every message.
const PREFIX: usize = 5;
