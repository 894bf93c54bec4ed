//! The four kinds of client, one for each type of call.

mod bidi_streaming;
mod client_streaming;
mod server_streaming;
mod unary;

use tonic::Status;

pub(crate) use bidi_streaming::BidiStreaming;
pub(crate) use client_streaming::ClientStreaming;
pub(crate) use server_streaming::ServerStreaming;
pub(crate) use unary::Unary;

use crate::session::Session;

/// What a client does again and again.
pub(crate) trait Kind: Send {
    /// One call from its beginning to its end. Tells the outbox which readings are done with; the others are sent
    /// again by the next call. A `trial` is short.
    fn call(&mut self, session: &Session, trial: bool) -> impl Future<Output = Result<(), Status>> + Send;
}
