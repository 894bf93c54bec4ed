//! What a server takes in memory while nobody calls.

use std::{error::Error, fmt, io, sync::Arc};

use bytes::Bytes;
use h2::Ping;
use serde::Serialize;
use tokio::{net::TcpStream, runtime::Builder, task::JoinSet};
use tokio_rustls::{TlsConnector, rustls::ClientConfig};

use crate::peer::Running;

/// Connections that stay idle: many, so that what the allocator holds back counts little.
const CONNECTIONS: usize = 500;

/// Resident memory of an idle server.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Idle {
    pub server_mib: f64,
    pub connection_kib: f64,
}

/// Goals.
const MAX_SERVER_MIB: f64 = 18.0;
const MAX_CONNECTION_KIB: f64 = 32.0;

impl Idle {
    pub(crate) fn reached(&self) -> bool {
        self.server_mib <= MAX_SERVER_MIB && self.connection_kib <= MAX_CONNECTION_KIB
    }
}

impl fmt::Display for Idle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { server_mib, connection_kib } = self;
        writeln!(f, "idle server: {server_mib:.1} MiB, goal {MAX_SERVER_MIB}")?;
        writeln!(f, "idle TLS connection: {connection_kib:.1} KiB, goal {MAX_CONNECTION_KIB}")
    }
}

/// Measures a server that has just been started.
pub(crate) fn measure(server: &Running, tls: &Arc<ClientConfig>) -> Result<Idle, Box<dyn Error>> {
    let resident =
        || server.resident().ok_or_else(|| io::Error::other("cannot read the server's memory from /proc"));
    let runtime = Builder::new_current_thread().enable_all().build()?;
    // What the first connection alone allocates is no cost of a connection.
    let first = runtime.block_on(connect(server, tls))?;
    let before = resident()?;
    let connections = runtime.block_on(async {
        let mut connections = JoinSet::new();
        for _ in 0..CONNECTIONS {
            connections.spawn(connect(server, tls).await?);
        }
        io::Result::Ok(connections)
    })?;
    let after = resident()?;
    drop((first, connections));
    Ok(Idle {
        server_mib: before as f64 / f64::from(1 << 20),
        connection_kib: after.saturating_sub(before) as f64 / CONNECTIONS as f64 / 1024.0,
    })
}

/// A TLS connection on which the server has answered a PING, as a future that keeps it open.
async fn connect(server: &Running, tls: &Arc<ClientConfig>) -> io::Result<impl Future<Output = ()> + use<>> {
    let name = "localhost".try_into().map_err(io::Error::other)?;
    let tcp = TcpStream::connect(server.address).await?;
    let stream = TlsConnector::from(Arc::clone(tls)).connect(name, tcp).await?;
    let (send, mut connection) =
        h2::client::Builder::new().handshake::<_, Bytes>(stream).await.map_err(io::Error::other)?;
    let mut pings = connection
        .ping_pong()
        .ok_or_else(|| io::Error::other("cannot send an HTTP/2 PING on this connection"))?;
    let mut open = Box::pin(async move {
        // Ends when the server or the test does.
        let _ = connection.await;
    });
    tokio::select! {
        pong = pings.ping(Ping::opaque()) => { pong.map_err(io::Error::other)?; }
        () = &mut open => return Err(io::Error::other("the server closed the connection")),
    }
    Ok(async move {
        let _send = send;
        open.await;
    })
}
