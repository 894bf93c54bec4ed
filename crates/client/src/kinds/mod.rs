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

/// A type of call that a client repeats.
pub(crate) trait Kind: Send {
    /// Makes one call. Removes the readings from the outbox that the server has stored or rejected; the others are sent
    /// again by the next call. A `probe` is short.
    fn call(&mut self, session: &Session, probe: bool) -> impl Future<Output = Result<(), Status>> + Send;
}

/// Makes one call of `kind` after the other until shutdown, and then until nothing is left to deliver.
pub(crate) async fn run(session: &Session, mut kind: impl Kind) {
    // After a failure, and at first, a short call shows soon whether it works.
    let mut probe = true;
    while !session.closing.is_cancelled() || session.outbox.len() > 0 {
        let result = kind.call(session, probe).await;
        session.outbox.retry();
        probe = result.is_err();
        match result {
            Ok(()) => session.progress.record_success(),
            Err(status) => session.back_off(&status).await,
        }
    }
}
