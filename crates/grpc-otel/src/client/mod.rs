//! The client's layers.

mod attempt;
mod attempts_of;
mod call;
mod handle;

use std::sync::Arc;

use tower_layer::Layer;

pub use self::{
    attempt::{ClientAttempt, ClientAttemptLayer},
    call::{ClientCall, ClientCallLayer},
    handle::{Attempt, Delay},
};
use crate::{shared::Shared, target::Target};

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
            call: ClientCallLayer::without_retries(shared, target.clone()),
            attempt: ClientAttemptLayer::directly_in_a_call(shared, target),
        }
    }
}

impl<S> Layer<S> for ClientLayer {
    type Service = ClientCall<ClientAttempt<S>>;

    fn layer(&self, inner: S) -> Self::Service {
        self.call.layer(self.attempt.layer(inner))
    }
}
