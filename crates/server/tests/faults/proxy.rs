use std::future;

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};

/// What becomes of connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// They go to this port.
    To(u16),
    /// They are closed.
    Cut,
    /// They stay open, and nothing comes through.
    Hole,
}

/// The one address behind which Valkey is.
#[derive(Debug)]
pub(crate) struct Proxy {
    pub(crate) port: u16,
    way: watch::Sender<Way>,
    task: JoinHandle<()>,
}

impl Proxy {
    pub(crate) async fn start(to: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("it has an address").port();
        let (way, changes) = watch::channel(Way::To(to));
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(carry(client, changes.clone()));
            }
        });
        Self { port, way, task }
    }

    pub(crate) fn set(&self, way: Way) {
        self.way.send_replace(way);
    }

    pub(crate) fn way(&self) -> Way {
        *self.way.borrow()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Until the way changes; then the connection is closed, but in a hole it is not even that.
async fn carry(mut client: TcpStream, mut changes: watch::Receiver<Way>) {
    let way = *changes.borrow_and_update();
    let mut server = None;
    let carried = async {
        match way {
            Way::To(port) => {
                if let Ok(stream) = TcpStream::connect(("127.0.0.1", port)).await {
                    let server = server.insert(stream);
                    let _ = server.set_nodelay(true);
                    // However it ends, both sides are closed.
                    let _ = copy_bidirectional(&mut client, server).await;
                }
            }
            Way::Cut => {}
            Way::Hole => future::pending().await,
        }
    };
    tokio::select! {
        () = carried => return,
        _ = changes.changed() => {}
    }
    if *changes.borrow_and_update() == Way::Hole {
        let _ = changes.changed().await;
    }
}
