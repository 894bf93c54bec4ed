//! A port on this machine that leads to a server's pod, as `kubectl port-forward` makes one.

use std::net::SocketAddr;

use anyhow::Result;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use crate::cluster::{Cluster, GRPC_PORT};

/// Ends when dropped.
pub struct Forward {
    /// Where to connect to.
    pub address: SocketAddr,
    accepting: JoinHandle<()>,
}

impl Forward {
    /// Each connection goes to a server that is ready at that moment.
    pub async fn open(cluster: &Cluster) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let cluster = cluster.clone();
        let accepting = tokio::spawn(async move {
            while let Ok((local, _)) = listener.accept().await {
                tokio::spawn(carry(cluster.clone(), local));
            }
        });
        Ok(Self { address, accepting })
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// A failure shows as a connection that ends.
async fn carry(cluster: Cluster, mut local: TcpStream) -> Result<()> {
    let pod = cluster.ready_server().await?;
    let mut remote = cluster.dial(&pod, GRPC_PORT).await?;
    copy_bidirectional(&mut local, &mut remote).await?;
    Ok(())
}
