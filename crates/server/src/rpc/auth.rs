//! Who may call: whoever sends a token of the token file, or shows a certificate that says `client auth`.

use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
};

use http::{HeaderMap, Request, header::AUTHORIZATION};
use kelvin_credentials::Tokens;
use tonic::Status;
use tower::Service;

use crate::{
    metrics::Metrics,
    throttle::Throttle,
    wire::{BoxFuture, Reply, failure},
};

/// Probes have no token.
const EXEMPT: &str = "/grpc.health.v1.Health/";

/// Decides who may call.
#[derive(Debug)]
pub(crate) struct Gate {
    tokens: Option<Arc<Tokens>>,
    metrics: Arc<Metrics>,
    log: Throttle,
}

impl Gate {
    pub(crate) fn new(tokens: Option<Arc<Tokens>>, metrics: Arc<Metrics>) -> Self {
        Self { tokens, metrics, log: Throttle::new() }
    }

    /// A token that is sent has to be right, even beside a certificate: a wrong one is a mistake to be told of.
    fn check(&self, headers: &HeaderMap, certified: bool) -> Result<(), Status> {
        let reason = match (&self.tokens, headers.get(AUTHORIZATION)) {
            (Some(tokens), Some(token)) if tokens.authenticate(token.as_bytes()).is_ok() => return Ok(()),
            (Some(_), Some(_)) => "wrong_token",
            _ if certified => return Ok(()),
            _ => "no_token",
        };
        self.metrics.unauthenticated(reason);
        if let Some(calls) = self.log.count() {
            tracing::warn!(calls, reason, "refused calls that did not authenticate");
        }
        Err(Status::unauthenticated(match (reason, &self.tokens) {
            ("wrong_token", _) => "the token in the authorization metadata is not one of this server's",
            (_, Some(_)) => "send a token in the authorization metadata, bare or behind `Bearer `",
            (_, None) => "show a client certificate whose extended key usage says `client auth`",
        }))
    }
}

/// Lets the calls of one connection through that may be made.
#[derive(Debug, Clone)]
pub(crate) struct Authenticate<S> {
    pub(crate) gate: Arc<Gate>,
    /// The peer showed a certificate that authenticates it.
    pub(crate) certified: bool,
    pub(crate) inner: S,
}

impl<S, B> Service<Request<B>> for Authenticate<S>
where
    S: Service<
            Request<B>,
            Response = Reply,
            Error = Infallible,
            Future = BoxFuture<Result<Reply, Infallible>>,
        >,
{
    type Response = Reply;
    type Error = Infallible;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let checked = if request.uri().path().starts_with(EXEMPT) {
            Ok(())
        } else {
            self.gate.check(request.headers(), self.certified)
        };
        match checked {
            Ok(()) => self.inner.call(request),
            Err(status) => Box::pin(std::future::ready(Ok(failure(status)))),
        }
    }
}
