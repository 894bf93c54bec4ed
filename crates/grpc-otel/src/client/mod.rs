//! The client's layers.

mod attempt;
mod attempts;
mod call;

use std::sync::Arc;

use tower_layer::Layer;

pub(crate) use self::attempts::Attempts;
pub use self::{
    attempt::{ClientAttempt, ClientAttemptLayer},
    call::{ClientCall, ClientCallLayer},
};
use crate::{builder::Shared, target::Target};

/// Records every call over a channel, each being one attempt. Made by
/// [`GrpcOtel::client_layer`](crate::GrpcOtel::client_layer).
#[derive(Clone)]
pub struct ClientLayer {
    call: ClientCallLayer,
    attempt: ClientAttemptLayer,
}

impl ClientLayer {
    pub(crate) fn new(shared: &Arc<Shared>, target: Target) -> Self {
        Self {
            call: ClientCallLayer::without_retries(shared, target),
            attempt: ClientAttemptLayer::new(shared, target),
        }
    }
}

impl<S> Layer<S> for ClientLayer {
    type Service = ClientCall<ClientAttempt<S>>;

    fn layer(&self, inner: S) -> Self::Service {
        self.call.layer(self.attempt.layer(inner))
    }
}
