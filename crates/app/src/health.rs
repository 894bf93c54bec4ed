//! The health port: `/livez` and `/readyz` over plain HTTP, for probes that speak no TLS; and `/metrics` where a
//! program serves its metrics for scraping.

use std::{
    collections::VecDeque,
    convert::Infallible,
    fmt::{self, Display},
    io::{self, ErrorKind},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use http::{
    Request, Response, StatusCode,
    header::{CONTENT_TYPE, HeaderValue},
};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::{Mutex, MutexGuard};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::{AbortHandle, JoinSet},
    time::timeout,
};

/// The timeout for a peer to send its request, and for the whole of [`check`].
const TIMEOUT: Duration = Duration::from_secs(2);

/// Concurrent connections. At the limit the oldest is closed: a probe takes milliseconds, and a limit that stopped accepting
/// would let silent peers fail all probes.
const MAX_CONNECTIONS: usize = 64;

/// The interval between log lines about failed accepts, of which there may be ten a second.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// Whether this process is ready to serve, not ready at first. Clones share one state.
#[derive(Clone)]
pub struct Health(Arc<State>);

struct State {
    ready: Mutex<Result<(), &'static str>>,
    metrics: OnceLock<Metrics>,
}

/// Renders the metrics of the process in Prometheus' text format.
type Metrics = Box<dyn Fn() -> String + Send + Sync>;

/// The text format that every Prometheus understands.
const TEXT_FORMAT: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

impl Default for Health {
    fn default() -> Self {
        Self(Arc::new(State { ready: Mutex::new(Err("starting")), metrics: OnceLock::new() }))
    }
}

impl fmt::Debug for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Health").field(&*self.ready()).finish()
    }
}

impl Health {
    /// Creates the health of a program that is not ready yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Notes that the program is ready to serve.
    pub fn set_ready(&self) {
        *self.ready() = Ok(());
    }

    /// Says why it is not ready to serve.
    pub fn set_unready(&self, reason: &'static str) {
        *self.ready() = Err(reason);
    }

    /// Returns whether it is ready to serve.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.ready().is_ok()
    }

    /// Serves what `render` returns, Prometheus' text format, at `/metrics`. The first call counts.
    pub fn serve_metrics(&self, render: impl Fn() -> String + Send + Sync + 'static) {
        let _ = self.0.metrics.set(Box::new(render));
    }

    fn ready(&self) -> MutexGuard<'_, Result<(), &'static str>> {
        self.0.ready.lock()
    }

    fn respond(&self, path: &str) -> Response<String> {
        if let ("/metrics", Some(render)) = (path, self.0.metrics.get()) {
            let mut response = Response::new(render());
            response.headers_mut().insert(CONTENT_TYPE, TEXT_FORMAT);
            return response;
        }
        let (status, text) = match (path, *self.ready()) {
            // A process that responds is alive.
            ("/livez", _) | ("/readyz", Ok(())) => (StatusCode::OK, "ok"),
            ("/readyz", Err(reason)) => (StatusCode::SERVICE_UNAVAILABLE, reason),
            _ => (StatusCode::NOT_FOUND, "not found; use /livez or /readyz"),
        };
        let mut response = Response::new(format!("{text}\n"));
        *response.status_mut() = status;
        response
    }
}

/// Answers probes on `listener` until `shutdown`.
pub async fn serve(listener: TcpListener, health: Health, shutdown: impl Future<Output = ()>) {
    let mut connections = JoinSet::new();
    let mut oldest_first = VecDeque::<AbortHandle>::new();
    let mut logged = None;
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => return,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    oldest_first.retain(|connection| !connection.is_finished());
                    if oldest_first.len() >= MAX_CONNECTIONS
                        && let Some(oldest) = oldest_first.pop_front()
                    {
                        oldest.abort();
                    }
                    oldest_first.push_back(connections.spawn(serve_connection(stream, health.clone())));
                }
                Err(error) => {
                    if logged.is_none_or(|at: Instant| at.elapsed() >= LOG_INTERVAL) {
                        tracing::warn!(%error, "accept failed on the health listener");
                        logged = Some(Instant::now());
                    }
                    // Out of file descriptors, most likely: trying at once would only spin.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
        }
    }
}

async fn serve_connection(stream: TcpStream, health: Health) {
    let service = service_fn(|request: Request<Incoming>| {
        let response = health.respond(request.uri().path());
        async { Ok::<_, Infallible>(response) }
    });
    // Errors here are the peer's: it went away or spoke no HTTP.
    let _ = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(TIMEOUT)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

/// Returns where a program that listens on `address` is reached from its own machine: an unspecified address, at
/// loopback.
#[must_use]
pub fn reachable(address: SocketAddr) -> SocketAddr {
    let mut address = crate::listen::available(address);
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    address
}

/// Asks the health port of a program that listens on `address` whether it is ready, for `healthcheck` commands.
pub async fn check(address: SocketAddr) -> io::Result<()> {
    let address = reachable(address);
    let failed = |kind, cause: &dyn Display| {
        io::Error::new(kind, format!("health check at {address} failed: {cause}"))
    };
    let response = timeout(TIMEOUT, get_readyz(address)).await;
    let response = response.map_err(|_| failed(ErrorKind::TimedOut, &"no answer"))?;
    let response = response.map_err(|error| failed(error.kind(), &error))?;
    let (head, body) = response.split_once("\r\n\r\n").unwrap_or((&response, ""));
    if head.split(' ').nth(1) == Some("200") { Ok(()) } else { Err(failed(ErrorKind::Other, &body.trim())) }
}

async fn get_readyz(address: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(b"GET /readyz HTTP/1.0\r\n\r\n").await?;
    let mut response = String::new();
    stream.read_to_string(&mut response).await?;
    Ok(response)
}
