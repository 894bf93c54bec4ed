//! A local port that is forwarded to a server pod, as by `kubectl port-forward`.

use std::net::SocketAddr;

use anyhow::Result;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use crate::cluster::{Cluster, GRPC_PORT};

/// A forwarded local port. It is closed when this is dropped.
pub struct Forward {
    /// Local address to connect to.
    pub address: SocketAddr,
    accepting: JoinHandle<()>,
}

impl Forward {
    /// Opens a local port. Each connection to it is forwarded to a server pod that is ready at that moment.
    pub async fn open(cluster: &Cluster) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let cluster = cluster.clone();
        let accepting = tokio::spawn(async move {
            while let Ok((local, _)) = listener.accept().await {
                tokio::spawn(forward(cluster.clone(), local));
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

/// Copies data between a local connection and a server pod. If that fails, the local connection is closed.
async fn forward(cluster: Cluster, mut local: TcpStream) -> Result<()> {
    let pod = cluster.ready_server().await?;
    let mut remote = cluster.dial(&pod, GRPC_PORT).await?;
    copy_bidirectional(&mut local, &mut remote).await?;
    Ok(())
}
