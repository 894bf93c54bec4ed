use std::net::SocketAddr;

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// Forwards each new connection to the server of the moment, as a Service does.
pub(crate) struct Forwarder {
    pub(crate) address: SocketAddr,
    server: watch::Sender<SocketAddr>,
}

impl Forwarder {
    pub(crate) async fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let (server, current) = watch::channel(server);
        tokio::spawn(async move {
            while let Ok((mut outer, _)) = listener.accept().await {
                let server = *current.borrow();
                tokio::spawn(async move {
                    let mut inner = TcpStream::connect(server).await?;
                    // A Service forwards packets; waiting to fill one would change the order of what is looked at here.
                    outer.set_nodelay(true)?;
                    inner.set_nodelay(true)?;
                    copy_bidirectional(&mut outer, &mut inner).await
                });
            }
        });
        Self { address, server }
    }

    /// New connections go to `server` from now on.
    pub(crate) fn lead_to(&self, server: SocketAddr) {
        self.server.send_replace(server);
    }
}
