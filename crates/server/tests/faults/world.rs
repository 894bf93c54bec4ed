use kelvin_server::Acknowledge;
use kelvin_testing::{ValkeyServer, eventually, valkey::cluster};

use crate::{fault::Fault, kelvin::Kelvin, proxy::Proxy};

const KELVINS: usize = 2;

/// Servers and their store.
pub(crate) struct World {
    pub(crate) kelvins: Vec<Kelvin>,
    /// The first is the primary; in a cluster the first half are.
    pub(crate) nodes: Vec<ValkeyServer>,
    /// The primary's address for servers.
    pub(crate) proxy: Proxy,
    /// The primary's address for replicas.
    pub(crate) wire: Proxy,
    /// Where a server finds the store.
    pub(crate) addresses: Vec<String>,
}

impl World {
    pub(crate) async fn start(fault: Fault, mode: Acknowledge) -> Self {
        let clustered = fault == Fault::ClusterFailover;
        let mut nodes = if clustered {
            cluster(3, 1, &["--appendonly", "yes"]).await
        } else {
            vec![ValkeyServer::start(&["--appendonly", "yes"]).await]
        };
        let (proxy, wire) = (Proxy::start(nodes[0].port).await, Proxy::start(nodes[0].port).await);
        let addresses = if clustered {
            nodes.iter().map(ValkeyServer::address).collect()
        } else {
            replicate(&mut nodes, wire.port, fault.replicas()).await;
            vec![format!("127.0.0.1:{}", proxy.port)]
        };
        let kelvins = (0..KELVINS).map(|_| Kelvin::start(&addresses, mode)).collect();
        Self { kelvins, nodes, proxy, wire, addresses }
    }
}

/// Gives the primary replicas, which reach it by this port.
async fn replicate(nodes: &mut Vec<ValkeyServer>, port: u16, replicas: usize) {
    for _ in 0..replicas {
        nodes.push(
            ValkeyServer::start(&["--appendonly", "yes", "--replicaof", "127.0.0.1", &port.to_string()])
                .await,
        );
    }
    for replica in 0..replicas {
        let (primary, field) = (&nodes[0], format!("slave{replica}"));
        eventually("the replica follows", async || primary.info(&field).await.contains("state=online")).await;
    }
}
