use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::FutureExt as _;
use grpc_otel::ServerLayer;
use hyper::{server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use kelvin_credentials::ServerTls;
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::{Layer as _, Service as _};

use crate::{
    caller::{ClientCertificate, Interrupts},
    config::Config,
    lifetime::jittered,
    log_rate_limiter::LogRateLimiter,
    metrics::{ConnectionRefusal, Metrics},
    preface::PrefaceChecked,
    rpc::{Authenticate, Authenticator, ConnectionAuth, Core, Rpc},
};

/// Bytes a caller may send on one stream before we have read them: HTTP/2's default.
const STREAM_WINDOW: u32 = 65_535;

/// h2 ends a connection with GOAWAY when unread DATA frames below 256 bytes use up a budget of half this window
/// (RUSTSEC-2026-0258). Callers that send one reading a frame on many streams would meet that in any pause of ours;
/// memory is bounded by the streams' windows already.
const CONNECTION_WINDOW: u32 = (1 << 31) - 1;

/// Bytes of a stream that wait for the network at most, whatever window its caller grants.
const SEND_BUFFER: usize = 128 * 1024;

/// Probes of a silent connection that go unanswered before it is closed, and the time between them.
const KEEPALIVE_PROBES: u32 = 2;
const KEEPALIVE_PAUSE: Duration = Duration::from_secs(10);

static HANDSHAKE_LOG: LogRateLimiter = LogRateLimiter::new();
static LIMIT_LOG: LogRateLimiter = LogRateLimiter::new();
static CERTIFICATE_LOG: LogRateLimiter = LogRateLimiter::new();

/// Time for calls to end after the client certificate of their connection is rejected; then the connection is closed.
const CERTIFICATE_GRACE: Duration = Duration::from_secs(1);

/// What all connections of a server share.
pub(crate) struct Shared {
    pub(crate) config: Config,
    /// Plain text if there is none.
    pub(crate) tls: Option<Arc<ServerTls>>,
    pub(crate) authenticator: Arc<Authenticator>,
    pub(crate) otel: ServerLayer,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) open: AtomicUsize,
    /// Cancelled when connections have to end.
    pub(crate) drain: CancellationToken,
}

/// Serves one connection until it ends.
pub(crate) async fn serve(stream: TcpStream, shared: Arc<Shared>, core: Arc<Core>) {
    let Some(_open) = Open::count(&shared) else {
        shared.metrics.connection_refused(ConnectionRefusal::Limit);
        if let Some(connections) = LIMIT_LOG.record() {
            tracing::warn!(
                connections,
                limit = shared.config.max_connections,
                "connections refused (KELVIN_MAX_CONNECTIONS)"
            );
        }
        return;
    };
    set_options(&stream, shared.config.keepalive_interval);
    let Some(tls) = &shared.tls else { return begin(stream, ConnectionAuth::default(), &shared, core).await };
    let acceptor = TlsAcceptor::from(tls.config());
    match timeout(shared.config.handshake_timeout, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => {
            let certificate = stream.get_ref().1.peer_certificates().map(ClientCertificate::new);
            let auth = certificate.map(ConnectionAuth::new).unwrap_or_default();
            begin(stream, auth, &shared, core).await;
        }
        Ok(Err(error)) => refuse(&shared, ConnectionRefusal::Handshake, &error),
        Err(elapsed) => refuse(&shared, ConnectionRefusal::HandshakeTimeout, &elapsed),
    }
}

/// Errors mean that the peer has gone already, which the handshake will find.
fn set_options(stream: &TcpStream, keepalive_interval: Duration) {
    // Without this small answers wait for the acknowledgement of others.
    let _ = stream.set_nodelay(true);
    // By TCP, because HTTP/2's pings make hyper take a lock and read the clock for every frame.
    let keepalive = TcpKeepalive::new()
        .with_time(keepalive_interval)
        .with_interval(KEEPALIVE_PAUSE)
        .with_retries(KEEPALIVE_PROBES);
    let _ = SockRef::from(stream).set_tcp_keepalive(&keepalive);
}

/// Waits for the first words of HTTP/2.
async fn begin<I>(io: I, auth: ConnectionAuth, shared: &Shared, core: Arc<Core>)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    match timeout(shared.config.handshake_timeout, PrefaceChecked::read(io)).await {
        Ok(Ok(io)) => http2(io, auth, shared, core).await,
        Ok(Err(error)) => refuse(shared, ConnectionRefusal::NoHttp2, &error),
        Err(elapsed) => refuse(shared, ConnectionRefusal::NoHttp2Timeout, &elapsed),
    }
}

fn refuse(shared: &Shared, reason: ConnectionRefusal, error: &dyn std::error::Error) {
    shared.metrics.connection_refused(reason);
    if let Some(connections) = HANDSHAKE_LOG.record() {
        tracing::info!(connections, reason = reason.as_str(), %error, "connections closed during handshake (reason of the last one)");
    }
}

async fn http2<I>(io: I, auth: ConnectionAuth, shared: &Shared, core: Arc<Core>)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let rejected = certificate_rejected(auth.certificate().cloned(), shared, Arc::clone(&core.interrupts));
    let authenticator = Arc::clone(&shared.authenticator);
    let stack = shared.otel.layer(Authenticate { authenticator, connection: auth, inner: Rpc::new(core) });
    let service = service_fn(move |request| stack.clone().call(request));
    let connection = builder(&shared.config).serve_connection(TokioIo::new(io), service);
    let (mut connection, mut rejected) = (pin!(connection), pin!(rejected.fuse()));
    let end = async {
        tokio::select! {
            () = shared.drain.cancelled() => {}
            () = sleep(jittered(shared.config.max_connection_age)) => {}
        }
    };
    let limit = tokio::select! {
        result = connection.as_mut() => return log(result),
        () = end => 2 * shared.config.max_stream_age,
        () = rejected.as_mut() => CERTIFICATE_GRACE,
    };
    // GOAWAY: calls that are open go on until they end or their age ends them, new ones go elsewhere. A caller
    // who does not read what it asked for can delay that, but not without limit.
    connection.as_mut().graceful_shutdown();
    tokio::select! {
        result = timeout(limit, connection.as_mut()) => result.map_or((), log),
        () = rejected => { _ = timeout(CERTIFICATE_GRACE, connection).await; }
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

fn log(result: hyper::Result<()>) {
    if let Err(error) = result {
        tracing::debug!(error = kelvin_app::error_chain(&error), "connection aborted");
    }
}

fn builder(config: &Config) -> http2::Builder<TokioExecutor> {
    let header_list = u32::try_from(config.max_header_size.0).unwrap_or(u32::MAX);
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .max_concurrent_streams(config.max_concurrent_streams.get())
        .max_header_list_size(header_list)
        .auto_date_header(false);
    builder
}

/// Counts a connection while it is open.
struct Open<'a>(&'a Shared);

impl<'a> Open<'a> {
    /// None when there are as many as are allowed.
    fn count(shared: &'a Shared) -> Option<Self> {
        let open = Self(shared);
        shared.metrics.connection_opened();
        let before = shared.open.fetch_add(1, Ordering::Relaxed);
        (before < shared.config.max_connections.get()).then_some(open)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
        self.0.metrics.connection_closed();
    }
}
