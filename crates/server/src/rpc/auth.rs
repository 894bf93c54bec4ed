//! Who may call: whoever sends a token of the token file, or shows a certificate that says `client auth`.

use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
};

use http::{HeaderMap, Request, header::AUTHORIZATION};
use kelvin_credentials::{Tokens, has_client_auth_eku};
use tonic::Status;
use tower::Service;

use super::Rpc;
use crate::{
    caller::{Caller, ClientCertificate},
    log_rate_limiter::LogRateLimiter,
    metrics::{AuthFailure, Metrics},
    status::CERTIFICATE_REJECTED,
    wire::{BoxFuture, Reply, RequestBody, failure},
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
    fn check(&self, headers: &HeaderMap, connection: &ConnectionAuth) -> Result<Caller, Status> {
        let caller = |token| Caller { token, certificate: connection.certificate.clone() };
        if connection.certificate.as_ref().is_some_and(|certificate| certificate.is_rejected()) {
            return Err(self.refuse(AuthFailure::Certificate, CERTIFICATE_REJECTED));
        }
        let mut sent = headers.get_all(AUTHORIZATION).iter();
        match (&self.tokens, sent.next(), sent.next()) {
            (_, Some(_), Some(_)) => {
                let text = "more than one authorization metadata entry; send one";
                Err(self.refuse(AuthFailure::Ambiguous, text))
            }
            (Some(tokens), Some(token), None) => match tokens.authenticate(token.as_bytes()) {
                Ok(token) => Ok(caller(Some(token))),
                Err(error) => Err(self.refuse(AuthFailure::Wrong, &error.to_string())),
            },
            _ if connection.authenticates => Ok(caller(None)),
            (Some(_), None, _) => {
                let text = "send a token in the authorization metadata, bare or behind `Bearer `";
                Err(self.refuse(AuthFailure::Missing, text))
            }
            (None, ..) => {
                let text = "send a client certificate with the clientAuth extended key usage";
                Err(self.refuse(AuthFailure::Missing, text))
            }
        }
    }

    fn refuse(&self, reason: AuthFailure, text: &str) -> Status {
        self.metrics.unauthenticated(reason);
        if let Some(calls) = self.log.record() {
            tracing::warn!(calls, reason = reason.as_str(), "unauthenticated calls refused");
        }
        Status::unauthenticated(text)
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
}

/// Authenticates the calls of one connection and passes accepted ones on.
#[derive(Debug, Clone)]
pub(crate) struct Authenticate {
    pub(crate) authenticator: Arc<Authenticator>,
    pub(crate) connection: ConnectionAuth,
    pub(crate) inner: Rpc,
}

impl<B: RequestBody> Service<Request<B>> for Authenticate {
    type Response = Reply;
    type Error = Infallible;
    type Future = BoxFuture<Result<Reply, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let caller = if request.uri().path().starts_with(EXEMPT) {
            Ok(Caller { token: None, certificate: self.connection.certificate.clone() })
        } else {
            self.authenticator.check(request.headers(), &self.connection)
        };
        match caller {
            Ok(caller) => self.inner.call(request, caller),
            Err(status) => Box::pin(std::future::ready(Ok(failure(status)))),
        }
    }
}
