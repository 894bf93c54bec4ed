//! The caller of a call, and the signals that end calls whose credentials are no longer accepted.
//!
//! Every stream is polled for each batch of its readings, so it waits for a single signal ([`Interrupts`]) that covers
//! every reason: the drain, a reload of the tokens, a rejected client certificate. A call that is woken checks whether a
//! reason applies to it, and otherwise waits for the next signal.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use kelvin_credentials::{ServerTls, Tokens};
use opentelemetry::{Context, KeyValue, trace::TraceContextExt as _};
use parking_lot::{Mutex, MutexGuard};
use tokio_rustls::rustls::{self, pki_types::CertificateDer};
use tokio_util::sync::CancellationToken;

use crate::end_reason::EndReason;

/// Attribute of a span: the name of the caller's token.
const CALLER_NAME: &str = "kelvin.caller.name";

/// The authenticated caller of a call.
#[derive(Debug, Clone, Default)]
pub(crate) struct Caller {
    /// The token it sent, if it was accepted for that.
    pub(crate) token: Option<kelvin_credentials::Caller>,
    /// The certificate of its connection.
    pub(crate) certificate: Option<Arc<ClientCertificate>>,
}

impl Caller {
    /// Returns the name of the token.
    pub(crate) fn name(&self) -> Option<&Arc<str>> {
        self.token.as_ref()?.name()
    }

    /// Adds the name to the current span.
    pub(crate) fn record(&self) {
        if let Some(name) = self.name() {
            Context::map_current(|context| {
                context.span().set_attribute(KeyValue::new(CALLER_NAME, Arc::clone(name)));
            });
        }
    }
}

/// A client certificate that was accepted in the handshake of its connection.
#[derive(Debug)]
pub(crate) struct ClientCertificate {
    chain: Vec<CertificateDer<'static>>,
    rejected: AtomicBool,
}

impl ClientCertificate {
    pub(crate) fn new(chain: &[CertificateDer<'_>]) -> Arc<Self> {
        let chain = chain.iter().map(|certificate| certificate.clone().into_owned()).collect();
        Arc::new(Self { chain, rejected: AtomicBool::new(false) })
    }

    pub(crate) fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// Completes when the certificate has expired or its CA has been removed; from then on it is rejected.
    pub(crate) async fn rejected(&self, tls: &ServerTls) -> rustls::Error {
        let reason = tls.client_rejected(&self.chain).await;
        self.rejected.store(true, Ordering::Relaxed);
        reason
    }

    pub(crate) fn is_rejected(&self) -> bool {
        self.rejected.load(Ordering::Relaxed)
    }
}

/// The credentials of a call, for code that cannot poll its lifetime, which the handler owns.
#[derive(Debug, Clone, Default)]
pub(crate) struct Credentials {
    pub(crate) interrupts: Arc<Interrupts>,
    pub(crate) caller: Caller,
}

impl Credentials {
    /// Completes when they are no longer accepted.
    pub(crate) async fn rejected(self) {
        loop {
            let next = self.interrupts.next();
            if self.interrupts.reason(&self.caller, false).is_some() {
                return;
            }
            next.cancelled().await;
        }
    }
}

/// The signals that end the calls of one worker from outside.
#[derive(Debug, Default)]
pub(crate) struct Interrupts {
    drain: CancellationToken,
    tokens: Option<Arc<Tokens>>,
    /// Cancelled and replaced for each signal.
    next: Mutex<CancellationToken>,
}

impl Interrupts {
    pub(crate) fn new(drain: CancellationToken, tokens: Option<Arc<Tokens>>) -> Self {
        Self { drain, tokens, next: Mutex::default() }
    }

    /// Signals the drain and each reload of the tokens.
    pub(crate) async fn watch(&self) {
        let mut reloads = self.tokens.as_ref().map(|tokens| tokens.changes());
        let reloaded = async {
            if let Some(reloads) = &mut reloads {
                while reloads.changed().await.is_ok() {
                    self.signal();
                }
            }
        };
        tokio::join!(reloaded, async {
            self.drain.cancelled().await;
            self.signal();
        });
    }

    /// Wakes all calls.
    pub(crate) fn signal(&self) {
        std::mem::take(&mut *self.lock()).cancel();
    }

    /// Returns the next signal. Ask [`reason`](Self::reason) after this, not before: what happens in between would be
    /// missed.
    pub(crate) fn next(&self) -> CancellationToken {
        self.lock().clone()
    }

    /// Returns why a call of `caller` has to end now.
    pub(crate) fn reason(&self, caller: &Caller, ends_at_drain: bool) -> Option<EndReason> {
        let accepted = |token| self.tokens.as_ref().is_none_or(|tokens| tokens.accepts(token));
        if caller.certificate.as_ref().is_some_and(|certificate| certificate.is_rejected()) {
            Some(EndReason::CertificateRejected)
        } else if !caller.token.as_ref().is_none_or(accepted) {
            Some(EndReason::TokenRemoved)
        } else if ends_at_drain && self.drain.is_cancelled() {
            Some(EndReason::Drain)
        } else {
            None
        }
    }

    fn lock(&self) -> MutexGuard<'_, CancellationToken> {
        self.next.lock()
    }
}
