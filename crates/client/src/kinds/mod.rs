//! The four kinds of client, one for each type of call.

mod bidi_streaming;
mod client_streaming;
mod kind;
mod server_streaming;
mod unary;

pub(crate) use bidi_streaming::BidiStreaming;
pub(crate) use client_streaming::ClientStreaming;
pub(crate) use server_streaming::ServerStreaming;
pub(crate) use unary::Unary;

use crate::session::Session;
use kind::Kind;

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
