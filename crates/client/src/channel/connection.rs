//! Keeps one address connected: opens a connection again when it ends and when the credentials change.
//!
//! ```text
//!     ┌────────────────────── wait ──────────────────────┐
//!     ▼                                                  │
//! connecting ─────── cannot connect: Failed ───────▶ backing off
//!   │    ▲                                               ▲
//!   │    ├── credentials changed: no event ───┐          │ ended before it was
//!   │    └── ended when stable: Disconnected ─┤          │ stable: Failed
//!   │                                         │          │
//!   └─────────────── Connected ──────────▶ connected ────┘
//! ```
//!
//! `Connected`, `Disconnected` and `Failed` are the [`Event`]s by which the endpoint set decides where calls go. Draining is
//! a state of the endpoint and not of the connection: the health watch reports it as `Health`, and the connection stays
//! open.
//!
//! - *A connection that ends before it is stable counts as a failure.* With TLS 1.3 a server rejects a client certificate
//!   after the handshake, so a handshake that succeeded proves nothing, and connecting again without a wait would be a loop.
//! - *A stable connection resets the back-off.* The server accepted the client, so the end of the connection is probably a
//!   restart, a GOAWAY or a fault of the network, and the failures before it say nothing about the next attempt.
//! - *A change of credentials skips the back-off*: nothing has failed, and the server may soon reject the old credentials.
//! - *The old connection stays open meanwhile.* Its task is detached, not aborted, and the endpoint set keeps sending calls
//!   over it until `Connected` brings the new one; `Failed` does not displace a connection that is open. So a rotation
//!   interrupts no call, and the old connection ends after its last call.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use http::Uri;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use kelvin_app::{BoxError, error_chain};
use kelvin_credentials::{ClientTls, HandshakeResult};
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    task::JoinHandle,
    time::{Instant, sleep, timeout_at},
};
use tokio_rustls::{
    TlsConnector,
    rustls::{ClientConfig, pki_types::ServerName},
};
use tonic::body::Body;

use super::{
    endpoint_set::Event,
    endpoints::{Endpoints, HttpConnection},
    health,
    subchannel_metrics::{OpenConnection, SubchannelMetrics},
};
use crate::backoff::Backoff;

/// A connection that lasted this long was stable. A server that rejects our certificate ends it sooner: with TLS 1.3
/// that is after the handshake, so a handshake that succeeded proves nothing.
const STABLE_AFTER: Duration = Duration::from_secs(1);
const INITIAL_BACKOFF: Duration = Duration::from_millis(100);
const MAX_BACKOFF: Duration = Duration::from_secs(3);
/// The time after which a connection to a peer that acknowledges nothing is closed, as in gRFC A18. TCP keepalive probes
/// the peer, not HTTP/2 PING: servers commonly close connections that ping more often than every five minutes.
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(20);
/// The flow-control window of a call in bytes, large enough for the server to set the pace.
const STREAM_WINDOW: u32 = 64 * 1024;
/// Much larger than the window of a stream, because h2 ends connections with too many small unread frames, and its budget
/// for them is half of this window.
const CONNECTION_WINDOW: u32 = 16 * 1024 * 1024;

/// Opens connections.
#[derive(Debug)]
pub(super) struct Connector {
    pub(super) tls: Tls,
    /// Scheme and authority of the calls.
    pub(super) origin: Uri,
    /// The timeout for opening a connection.
    pub(super) connect_timeout: Duration,
    /// The interval at which the TLS configuration is checked for changes.
    pub(super) reload_interval: Duration,
    pub(super) metrics: SubchannelMetrics,
}

/// The TLS configuration and the name that the server's certificate must have; `None` for plaintext.
pub(super) type Tls = Option<(Arc<ClientTls>, ServerName<'static>)>;

/// The reason why a connection is no longer used.
enum Disconnected {
    /// It still works; a connection with the new credentials takes its place.
    CredentialsChanged { was_stable: bool },
    /// It ended after it had worked for a while: connect again at once.
    Stable(String),
    /// It could not be opened, or it ended at once: the server may be about to stop or reject us, so back off.
    Failed(String),
}

type Connection = (SendRequest<Body>, JoinHandle<hyper::Result<()>>);

impl Connector {
    /// Keeps `address` connected until the task is aborted.
    pub(super) async fn run(self: Arc<Self>, address: SocketAddr, endpoints: Endpoints) {
        let mut backoff = Backoff::new(INITIAL_BACKOFF, MAX_BACKOFF);
        // Whether a failure was logged since the last stable connection; further ones are logged at debug level.
        let mut logged = false;
        loop {
            match self.connect_and_monitor(address, &endpoints).await {
                Disconnected::CredentialsChanged { was_stable } => {
                    tracing::info!(%address, "certificates rotated; reconnecting");
                    if was_stable {
                        logged = false;
                        backoff.reset();
                    }
                }
                Disconnected::Stable(error) => {
                    tracing::info!(%address, error, "disconnected");
                    logged = false;
                    backoff.reset();
                    endpoints.apply(Event::Disconnected(address));
                }
                Disconnected::Failed(error) => {
                    if logged {
                        tracing::debug!(%address, error, "still cannot connect");
                    } else {
                        tracing::warn!(%address, error, "connection failed; retrying with exponential backoff");
                        logged = true;
                    }
                    endpoints.apply(Event::Failed(address, error));
                    sleep(backoff.next()).await;
                }
            }
        }
    }

    /// Opens one connection and keeps it in use until it ends or is to be replaced.
    async fn connect_and_monitor(&self, address: SocketAddr, endpoints: &Endpoints) -> Disconnected {
        let config = self.config();
        let (sender, connection) = match self.connect(address, config.clone()).await {
            Ok(connection) => connection,
            Err(error) => {
                self.metrics.failed();
                return Disconnected::Failed(error_chain(&*error));
            }
        };
        let open = self.metrics.connected();
        let connected = HttpConnection { sender: sender.clone(), peer: address };
        endpoints.apply(Event::Connected(address, connected));
        let report = |serving| {
            endpoints.apply(Event::Health(address, serving));
        };
        let watch = health::watch(sender, self.origin.clone(), report);
        self.monitor(address, config.as_ref(), (connection, open), watch).await
    }

    /// Waits until the connection ends, or until a new one would have another configuration.
    async fn monitor(
        &self,
        address: SocketAddr,
        config: Option<&Arc<ClientConfig>>,
        (mut connection, open): (JoinHandle<hyper::Result<()>>, OpenConnection),
        watch: impl Future<Output = Infallible>,
    ) -> Disconnected {
        let mut stable = false;
        let mut stable_timer = std::pin::pin!(sleep(STABLE_AFTER));
        let mut changed = std::pin::pin!(self.config_changed(config));
        let mut watch = std::pin::pin!(watch);
        loop {
            tokio::select! {
                // The connection's task has ended: the server closed the connection, or it was lost.
                end = &mut connection => {
                    let end = end.unwrap_or(Ok(()));
                    open.ended(&end, self.tls.is_some());
                    let mut error = match end {
                        Err(error) => error_chain(&error),
                        Ok(()) => "the server closed the connection".to_owned(),
                    };
                    if !stable && self.tls.is_none() {
                        error += " (connecting without TLS; if the server uses TLS, set KELVIN_SERVER to https://…)";
                    }
                    return if stable { Disconnected::Stable(error) } else { Disconnected::Failed(error) };
                }
                // The files have changed. Returning drops the handle of the connection's task, which detaches it.
                () = &mut changed => return Disconnected::CredentialsChanged { was_stable: stable },
                // The health watch never completes. It is polled here so that it ends with this function.
                never = &mut watch => match never {},
                // The connection has lasted for `STABLE_AFTER`: only now is it logged, and its end will not be a failure.
                () = &mut stable_timer, if !stable => {
                    tracing::info!(%address, "connected");
                    stable = true;
                }
            }
        }
    }

    fn config(&self) -> Option<Arc<ClientConfig>> {
        self.tls.as_ref().map(|(tls, _)| tls.config())
    }

    /// Waits until new connections would have another configuration.
    async fn config_changed(&self, config: Option<&Arc<ClientConfig>>) {
        loop {
            sleep(self.reload_interval).await;
            if let (Some(old), Some(new)) = (config, self.config())
                && !Arc::ptr_eq(old, &new)
            {
                return;
            }
        }
    }

    async fn connect(
        &self,
        address: SocketAddr,
        config: Option<Arc<ClientConfig>>,
    ) -> Result<Connection, BoxError> {
        let deadline = Instant::now() + self.connect_timeout;
        let timed_out = |_| format!("no connection within {:?}", self.connect_timeout);
        let tcp = timeout_at(deadline, TcpStream::connect(address)).await.map_err(timed_out)??;
        tcp.set_nodelay(true)?;
        let socket = SockRef::from(&tcp);
        socket.set_tcp_keepalive(
            &TcpKeepalive::new()
                .with_time(TCP_USER_TIMEOUT / 2)
                .with_interval(TCP_USER_TIMEOUT / 4)
                .with_retries(2),
        )?;
        #[cfg(target_os = "linux")]
        socket.set_tcp_user_timeout(Some(TCP_USER_TIMEOUT))?;

        let (Some(config), Some((_, name))) = (config, &self.tls) else {
            return timeout_at(deadline, handshake(tcp)).await.map_err(timed_out)?;
        };
        let stream = timeout_at(deadline, TlsConnector::from(config).connect(name.clone(), tcp)).await;
        let result = stream.as_ref().map_or(HandshakeResult::HandshakeTimeout, HandshakeResult::from);
        self.metrics.handshake(result);
        let stream = stream.map_err(timed_out)??;
        if stream.get_ref().1.alpn_protocol() != Some(b"h2") {
            return Err("the server does not offer HTTP/2 (ALPN h2)".into());
        }
        timeout_at(deadline, handshake(stream)).await.map_err(timed_out)?
    }
}

async fn handshake<T>(io: T) -> Result<Connection, BoxError>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = Builder::new(TokioExecutor::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .handshake(TokioIo::new(io))
        .await?;
    Ok((sender, tokio::spawn(connection)))
}
