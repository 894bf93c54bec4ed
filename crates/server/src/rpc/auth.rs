//! Authenticates calls: by a token of the token file, or by a client certificate with the clientAuth extended key usage.

use std::{
    borrow::Cow,
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
};

use grpc_otel::{ResponseBody, ResponseFuture, ServerLayer};
use http::{HeaderMap, Request, Response, header::AUTHORIZATION};
use kelvin_credentials::{Tokens, has_client_auth_eku};
use tonic::Status;
use tower::{Layer as _, Service};

use super::Rpc;
use crate::{
    caller::{Caller, ClientCertificate},
    connections::{Account, IncomingBody},
    log_rate_limiter::LogRateLimiter,
    metrics::{AuthFailure, Metrics},
    status::CERTIFICATE_REJECTED,
    wire::{BoxFuture, Reply, ReplyBody, RequestBody, failure},
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
    fn check(&self, headers: &HeaderMap, connection: &ConnectionAuth) -> Result<Caller, Refusal> {
        let caller = |token| Caller { token, certificate: connection.certificate.clone() };
        if connection.certificate.as_ref().is_some_and(|certificate| certificate.is_rejected()) {
            return Err(Refusal::new(AuthFailure::Certificate, CERTIFICATE_REJECTED));
        }
        let mut sent = headers.get_all(AUTHORIZATION).iter();
        match (&self.tokens, sent.next(), sent.next()) {
            (_, Some(_), Some(_)) => {
                let text = "more than one authorization metadata entry; send one";
                Err(Refusal::new(AuthFailure::Ambiguous, text))
            }
            (Some(tokens), Some(token), None) => match tokens.authenticate(token.as_bytes()) {
                Ok(token) => Ok(caller(Some(token))),
                Err(error) => Err(Refusal::new(AuthFailure::Wrong, error.to_string())),
            },
            _ if connection.authenticates => Ok(caller(None)),
            (Some(_), None, _) => {
                let text = "send a token in the authorization metadata, with or without the prefix `Bearer `";
                Err(Refusal::new(AuthFailure::Missing, text))
            }
            (None, ..) => {
                let text = "send a client certificate with the clientAuth extended key usage";
                Err(Refusal::new(AuthFailure::Missing, text))
            }
        }
    }

    fn refuse(&self, Refusal { reason, text }: Refusal) -> Status {
        self.metrics.unauthenticated(reason);
        if let Some(calls) = self.log.record() {
            tracing::warn!(calls, last_reason = reason.as_str(), "unauthenticated calls refused");
        }
        Status::unauthenticated(text)
    }
}

/// The reason why a call is not authenticated, with the message of its status.
#[derive(Debug)]
struct Refusal {
    reason: AuthFailure,
    text: Cow<'static, str>,
}

impl Refusal {
    fn new(reason: AuthFailure, text: impl Into<Cow<'static, str>>) -> Self {
        Self { reason, text: text.into() }
    }
}

/// The client certificate of a connection and whether it authenticates calls.
#[derive(Debug, Clone, Default)]
pub(crate) struct ConnectionAuth {
    certificate: Option<Arc<ClientCertificate>>,
    /// The certificate has the clientAuth extended key usage.
    authenticates: bool,
}

impl ConnectionAuth {
    pub(crate) fn new(certificate: Arc<ClientCertificate>) -> Self {
        let authenticates = certificate.chain().first().is_some_and(has_client_auth_eku);
        Self { certificate: Some(certificate), authenticates }
    }

    pub(crate) fn certificate(&self) -> Option<&Arc<ClientCertificate>> {
        self.certificate.as_ref()
    }

    pub(crate) fn authenticates(&self) -> bool {
        self.authenticates
    }
}

/// Authenticates the calls of one connection and passes accepted ones on. It stands outside of the layers that record
/// calls: only authenticated callers start traces or influence sampling.
pub(crate) struct Authenticate {
    pub(crate) authenticator: Arc<Authenticator>,
    pub(crate) connection: ConnectionAuth,
    pub(crate) account: Arc<Account>,
    pub(crate) traced: ServerLayer,
    pub(crate) untraced: ServerLayer,
    pub(crate) rpc: Rpc,
}

impl Service<Request<IncomingBody>> for Authenticate {
    type Response = Response<ResponseBody<ReplyBody>>;
    type Error = Infallible;
    type Future = ResponseFuture<BoxFuture<Result<Reply, Infallible>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<IncomingBody>) -> Self::Future {
        let is_exempt = request.uri().path().starts_with(EXEMPT);
        let (layer, outcome) = match self.authenticator.check(request.headers(), &self.connection) {
            Ok(caller) => {
                self.account.authenticate();
                (&self.traced, Ok(if is_exempt { self.without_token() } else { caller }))
            }
            Err(refusal) if is_exempt && self.account.admits_call() => {
                // A probe with a wrong token is answered too, but counts as a rejected call: otherwise this would be a way to
                // try tokens unnoticed.
                if request.headers().contains_key(AUTHORIZATION) {
                    self.authenticator.refuse(refusal);
                } else {
                    self.account.answer();
                }
                (&self.untraced, Ok(self.without_token()))
            }
            Err(_) if is_exempt => {
                let text = "too many open calls on an unauthenticated connection; send a token";
                (&self.untraced, Err(Status::resource_exhausted(text)))
            }
            Err(refusal) => {
                self.account.refuse();
                (&self.untraced, Err(self.authenticator.refuse(refusal)))
            }
        };
        layer.layer(Authenticated { rpc: &self.rpc, outcome: Some(outcome) }).call(request)
    }
}

impl Authenticate {
    /// A call that needs no token does not end when one is removed.
    fn without_token(&self) -> Caller {
        Caller { token: None, certificate: self.connection.certificate.clone() }
    }
}

/// Makes one call for its caller, or answers it with the status that refuses it.
struct Authenticated<'a> {
    rpc: &'a Rpc,
    outcome: Option<Result<Caller, Status>>,
}

impl<B: RequestBody> Service<Request<B>> for Authenticated<'_> {
    type Response = Reply;
    type Error = Infallible;
    type Future = BoxFuture<Result<Reply, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        match self.outcome.take().expect("made for one call") {
            Ok(caller) => self.rpc.call(request, caller),
            Err(status) => Box::pin(std::future::ready(Ok(failure(status)))),
        }
    }
}
