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
    log_rate_limiter::LogRateLimiter,
    metrics::{AuthFailure, Metrics},
    wire::{BoxFuture, Reply, failure},
};

/// Probes have no token.
const EXEMPT: &str = "/grpc.health.v1.Health/";

/// Decides who may call.
#[derive(Debug)]
pub(crate) struct Authenticator {
    tokens: Option<Arc<Tokens>>,
    metrics: Arc<Metrics>,
    log: LogRateLimiter,
}

impl Authenticator {
    pub(crate) fn new(tokens: Option<Arc<Tokens>>, metrics: Arc<Metrics>) -> Self {
        Self { tokens, metrics, log: LogRateLimiter::new() }
    }

    /// A token that is sent must be accepted, even beside a certificate: a wrong one is a mistake to report. Two
    /// `authorization` headers are ambiguous, because proxies differ in which of them they check.
    fn check(&self, headers: &HeaderMap, client_cert_verified: bool) -> Result<(), Status> {
        let mut sent = headers.get_all(AUTHORIZATION).iter();
        let reason = match (&self.tokens, sent.next(), sent.next()) {
            (_, Some(_), Some(_)) => AuthFailure::Ambiguous,
            (Some(tokens), Some(token), None) if tokens.authenticate(token.as_bytes()).is_ok() => {
                return Ok(());
            }
            (Some(_), Some(_), None) => AuthFailure::Wrong,
            _ if client_cert_verified => return Ok(()),
            _ => AuthFailure::Missing,
        };
        self.metrics.unauthenticated(reason);
        if let Some(calls) = self.log.record() {
            tracing::warn!(calls, reason = reason.as_str(), "unauthenticated calls refused");
        }
        Err(Status::unauthenticated(match (reason, &self.tokens) {
            (AuthFailure::Ambiguous, _) => "more than one authorization metadata entry; send one",
            (AuthFailure::Wrong, _) => "the token in the authorization metadata is not one of this server's",
            (AuthFailure::Missing, Some(_)) => {
                "send a token in the authorization metadata, bare or behind `Bearer `"
            }
            (AuthFailure::Missing, None) => {
                "send a client certificate with the clientAuth extended key usage"
            }
        }))
    }
}

/// Lets the calls of one connection through that may be made.
#[derive(Debug, Clone)]
pub(crate) struct Authenticate<S> {
    pub(crate) authenticator: Arc<Authenticator>,
    /// The peer showed a certificate that authenticates it.
    pub(crate) client_cert_verified: bool,
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
            self.authenticator.check(request.headers(), self.client_cert_verified)
        };
        match checked {
            Ok(()) => self.inner.call(request),
            Err(status) => Box::pin(std::future::ready(Ok(failure(status)))),
        }
    }
}
