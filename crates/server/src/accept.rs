//! Accepts connections: TLS, then HTTP/2.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use grpc_otel::ServerLayer;
use kelvin_credentials::{HandshakeResult, ServerTls};
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::{
    bounded_tls::{Bounded, BoundedTls},
    caller::{ClientCertificate, Interrupts},
    config::Config,
    connections::{self, Account, PrefaceChecked, Registry},
    log_rate_limiter::LogRateLimiter,
    metrics::{ConnectionRefusal, Metrics},
    rpc::{Authenticate, Authenticator, ConnectionAuth, Core, Rpc},
};

/// Probes of a silent connection that go unanswered before it is closed, and the time between them.
const KEEPALIVE_PROBES: u32 = 2;
const KEEPALIVE_PAUSE: Duration = Duration::from_secs(10);

static HANDSHAKE_LOG: LogRateLimiter = LogRateLimiter::new();
static CERTIFICATE_LOG: LogRateLimiter = LogRateLimiter::new();

/// The state that all connections of a server share.
pub(crate) struct Shared {
    pub(crate) config: Config,
    /// Plain text if there is none.
    pub(crate) tls: Option<Arc<ServerTls>>,
    pub(crate) authenticator: Arc<Authenticator>,
    /// Records the calls of authenticated callers.
    pub(crate) otel: ServerLayer,
    /// Records those of others: metrics, and nothing that they decide about.
    pub(crate) untraced: ServerLayer,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) registry: Arc<Registry>,
    /// Cancelled when connections have to end.
    pub(crate) drain: CancellationToken,
}

/// Serves one connection until it ends.
pub(crate) async fn serve((stream, peer): (TcpStream, SocketAddr), shared: Arc<Shared>, core: Arc<Core>) {
    let Some(admitted) = shared.registry.admit() else { return };
    let account = Arc::new(Account::new(&admitted, core.turns.clone()));
    set_options(&stream, shared.config.keepalive_interval);
    // A handshake costs as much as a turn. An error means that the thread is ending.
    let _ = account.next_turn().await;
    let Some(tls) = &shared.tls else {
        return begin(stream, peer, ConnectionAuth::default(), &shared, core, account).await;
    };
    // Boxed, as is what it returns: futures keep what they hand on, and a connection would take kilobytes more.
    if let Some(stream) = Box::pin(handshake(stream, tls, &shared, &account)).await {
        let certificate = stream.get_ref().get_ref().1.peer_certificates().map(ClientCertificate::new);
        let auth = certificate.map(ConnectionAuth::new).unwrap_or_default();
        begin(stream, peer, auth, &shared, core, account).await;
    }
}

async fn handshake(
    stream: TcpStream,
    tls: &ServerTls,
    shared: &Shared,
    account: &Account,
) -> Option<Box<BoundedTls>> {
    let acceptor = TlsAcceptor::from(tls.config());
    let accept = timeout(shared.config.handshake_timeout, acceptor.accept(Bounded::new(stream)));
    let handshake = account.unless_closing(accept).await?;
    let result = handshake.as_ref().map_or(HandshakeResult::HandshakeTimeout, HandshakeResult::from);
    shared.metrics.tls_handshake(result);
    match handshake {
        Ok(Ok(stream)) => return Some(Box::new(BoundedTls::new(stream))),
        Ok(Err(error)) => refuse(shared, ConnectionRefusal::Handshake, &error),
        Err(elapsed) => refuse(shared, ConnectionRefusal::HandshakeTimeout, &elapsed),
    }
    None
}

/// Sets the options of the socket. Errors are ignored: they mean that the peer has disconnected, which the handshake detects.
fn set_options(stream: &TcpStream, keepalive_interval: Duration) {
    // Otherwise a small reply waits for the acknowledgement of an earlier one (Nagle's algorithm).
    let _ = stream.set_nodelay(true);
    // TCP keepalive, not HTTP/2 PING: the kernel sends the probes without waking a task.
    let keepalive = TcpKeepalive::new()
        .with_time(keepalive_interval)
        .with_interval(KEEPALIVE_PAUSE)
        .with_retries(KEEPALIVE_PROBES);
    let _ = SockRef::from(stream).set_tcp_keepalive(&keepalive);
}

/// Waits for the HTTP/2 preface.
async fn begin<I>(
    io: I,
    peer: SocketAddr,
    auth: ConnectionAuth,
    shared: &Shared,
    core: Arc<Core>,
    account: Arc<Account>,
) where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    if auth.authenticates() {
        account.authenticate();
    }
    let preface = timeout(shared.config.handshake_timeout, PrefaceChecked::read(io));
    match account.unless_closing(preface).await {
        Some(Ok(Ok(io))) => http2(io, peer, auth, shared, core, account).await,
        Some(Ok(Err(error))) => refuse(shared, ConnectionRefusal::NoHttp2, &error),
        Some(Err(elapsed)) => refuse(shared, ConnectionRefusal::NoHttp2Timeout, &elapsed),
        None => {}
    }
}

fn refuse(shared: &Shared, reason: ConnectionRefusal, error: &dyn std::error::Error) {
    shared.metrics.connection_refused(reason);
    if let Some(connections) = HANDSHAKE_LOG.record() {
        tracing::info!(
            connections,
            last_reason = reason.as_str(),
            last_error = %error,
            "connections closed during handshake"
        );
    }
}

async fn http2<I>(
    io: I,
    peer: SocketAddr,
    auth: ConnectionAuth,
    shared: &Shared,
    core: Arc<Core>,
    account: Arc<Account>,
) where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let rejected = certificate_rejected(auth.certificate().cloned(), shared, Arc::clone(&core.interrupts));
    let calls = Authenticate {
        authenticator: Arc::clone(&shared.authenticator),
        connection: auth,
        account: Arc::clone(&account),
        traced: shared.otel.clone().with_peer(peer),
        untraced: shared.untraced.clone(),
        rpc: Rpc::new(core),
    };
    if let Err(error) = connections::serve(io, account, &shared.config, &shared.drain, rejected, calls).await
    {
        tracing::debug!(error = kelvin_app::error_chain(&error), "connection aborted");
    }
}

/// Completes when the client certificate of the connection is no longer accepted; its calls end then.
async fn certificate_rejected(
    certificate: Option<Arc<ClientCertificate>>,
    shared: &Shared,
    interrupts: Arc<Interrupts>,
) {
    let (Some(certificate), Some(tls)) = (certificate, &shared.tls) else { std::future::pending().await };
    let error = certificate.rejected(tls).await;
    interrupts.signal();
    if let Some(connections) = CERTIFICATE_LOG.record() {
        tracing::info!(connections, %error, "connections closed because their client certificate is no longer accepted");
    }
}
