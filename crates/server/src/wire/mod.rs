//! gRPC over HTTP/2 DATA frames, read and written many messages at a time.

mod deframer;
mod encoding;
mod frame_error;
mod reading;
mod reply;
mod response_writer;
mod template;
mod until_ended;

pub(crate) use deframer::Deframer;
pub(crate) use encoding::{ACCEPTED, Encoding};
pub(crate) use frame_error::FrameError;
pub(crate) use reading::{DecodeError, read_reading};
pub(crate) use reply::{
    BoxFuture, Messages, Reply, ReplyBody, RequestBody, failure, framed, message, stream, trailers,
};
pub(crate) use response_writer::ResponseWriter;
pub(crate) use template::Template;
pub(crate) use until_ended::UntilEnded;

/// A compressed flag and a big-endian length stand before every message.
pub(crate) const PREFIX: usize = 5;
