use tonic::Status;

use crate::session::Session;

/// A type of call that a client repeats.
pub(crate) trait Kind: Send {
    /// Makes one call. Removes the readings from the outbox that the server has stored or rejected; the others are sent
    /// again by the next call. A `probe` is short.
    fn call(&mut self, session: &Session, probe: bool) -> impl Future<Output = Result<(), Status>> + Send;
}
