//! A TCP proxy to the server, whose connections can be reset or muted.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};

/// Forwards connections to a server.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    connections: Arc<Mutex<JoinSet<()>>>,
    accepted: Arc<AtomicUsize>,
    muted: watch::Sender<bool>,
    _accepting: JoinSet<()>,
}

impl Proxy {
    pub(crate) async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::<Mutex<JoinSet<()>>>::default();
        let accepted = Arc::<AtomicUsize>::default();
        let mut accepting = JoinSet::new();
        let muted = watch::Sender::new(false);
        let (forwarded, count, muted_changes) = (connections.clone(), accepted.clone(), muted.subscribe());
        accepting.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::Relaxed);
                forwarded.lock().unwrap().spawn(forward(stream, server, muted_changes.clone()));
            }
        });
        Self { address, connections, accepted, muted, _accepting: accepting }
    }

    /// Resets all connections, as a server that is killed does.
    pub(crate) fn reset_connections(&self) {
        self.connections.lock().unwrap().abort_all();
    }

    /// Holds back what the server says, or lets it through again.
    pub(crate) fn mute(&self, muted: bool) {
        self.muted.send_replace(muted);
    }

    /// Returns the number of open connections.
    pub(crate) fn open_connections(&self) -> usize {
        let mut connections = self.connections.lock().unwrap();
        while connections.try_join_next().is_some() {}
        connections.len()
    }

    /// Returns the number of connections accepted so far.
    pub(crate) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }
}

async fn forward(stream: TcpStream, server: SocketAddr, mut muted: watch::Receiver<bool>) {
    let Ok(upstream) = TcpStream::connect(server).await else { return };
    for stream in [&stream, &upstream] {
        stream.set_nodelay(true).unwrap();
        // Dropped, it is reset: what is under way is lost, as it is with the server's process.
        socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO)).unwrap();
    }
    let (mut from_client, mut to_client) = stream.into_split();
    let (mut from_server, mut to_server) = upstream.into_split();
    let responses = async {
        let mut buffer = vec![0; 16 * 1024];
        loop {
            let length = from_server.read(&mut buffer).await?;
            let _ = muted.wait_for(|muted| !muted).await;
            to_client.write_all(&buffer[..length]).await?;
            if length == 0 {
                return Ok::<_, io::Error>(());
            }
        }
    };
    tokio::select! {
        _ = copy(&mut from_client, &mut to_server) => {}
        _ = responses => {}
    }
}
