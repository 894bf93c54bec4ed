//! gRPC over HTTP/2 DATA frames, read and written many messages at a time.

mod deframer;
mod encoding;
mod reading;
mod reply;
mod response_writer;
mod template;
mod trailers;
mod until_ended;

pub(crate) use deframer::Deframer;
pub(crate) use encoding::{ACCEPTED, ACCEPTED_BY_AUXILIARY, Encoding, GunzipError};
pub(crate) use reading::{DecodeError, read_reading};
pub(crate) use reply::{
    BoxFuture, Messages, Reply, ReplyBody, RequestBody, failure, framed, from_tonic, message, stream,
};
pub(crate) use response_writer::ResponseWriter;
pub(crate) use template::Template;
pub(crate) use trailers::trailers;
pub(crate) use until_ended::UntilEnded;
