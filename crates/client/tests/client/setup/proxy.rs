//! A way to the server that can be cut.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

/// Passes connections on to a server.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    connections: Arc<Mutex<JoinSet<()>>>,
    accepted: Arc<AtomicUsize>,
    _accepting: JoinSet<()>,
}

impl Proxy {
    pub(crate) async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::<Mutex<JoinSet<()>>>::default();
        let accepted = Arc::<AtomicUsize>::default();
        let mut accepting = JoinSet::new();
        let (passed, count) = (connections.clone(), accepted.clone());
        accepting.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::Relaxed);
                passed.lock().unwrap().spawn(pass(stream, server));
            }
        });
        Self { address, connections, accepted, _accepting: accepting }
    }

    /// Resets all connections, as a server that is killed does.
    pub(crate) fn cut(&self) {
        self.connections.lock().unwrap().abort_all();
    }

    /// How many connections there were.
    pub(crate) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }
}

async fn pass(mut stream: TcpStream, server: SocketAddr) {
    let Ok(mut onward) = TcpStream::connect(server).await else { return };
    for stream in [&stream, &onward] {
        stream.set_nodelay(true).unwrap();
        // Dropped, it is reset: what is under way is lost, as it is with the server's process.
        socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO)).unwrap();
    }
    let _ = copy_bidirectional(&mut stream, &mut onward).await;
}
