use std::time::Duration;

use kelvin_server::Acknowledge;
use kelvin_testing::{
    ValkeyServer, eventually,
    valkey::{cluster, cluster_info},
};
use tokio::time::sleep;

use super::{
    fault::Fault,
    proxy::{Proxy, Way},
};
use crate::support::kelvin::Kelvin;

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

    /// Injects a fault and removes it again.
    pub(crate) async fn inject(&mut self, fault: Fault) {
        let Self { kelvins, nodes, proxy, .. } = self;
        match fault {
            Fault::ServerKilled => {
                kelvins[0].kill();
                sleep(Duration::from_secs(1)).await;
                kelvins[0].run();
            }
            Fault::ServerStopped => {
                kelvins[0].signal("STOP");
                sleep(Duration::from_secs(5)).await;
                kelvins[0].signal("CONT");
            }
            Fault::ValkeyRestarted => {
                nodes[0].kill();
                sleep(Duration::from_secs(1)).await;
                nodes[0].run().await;
                let primary = &nodes[0];
                eventually("the file is read", async || primary.info("loading").await == "0").await;
                eventually("the replica is back", async || primary.info("connected_slaves").await == "1")
                    .await;
            }
            Fault::ReplicaStopped => {
                nodes[1].signal("STOP");
                sleep(Duration::from_secs(3)).await;
                nodes[1].signal("CONT");
            }
            Fault::PrimaryLost => promote(self).await,
            Fault::ClusterFailover => {
                nodes[0].kill();
                let replica = &nodes[nodes.len() / 2];
                eventually("the replica takes over", async || replica.info("role").await == "master").await;
                eventually("the cluster is whole", async || {
                    cluster_info(replica, "cluster_state").await == "ok"
                })
                .await;
                // It needs a replica again for what waits for one.
                nodes[0].run().await;
                let back = &nodes[0];
                eventually("the old primary follows", async || back.info("master_link_status").await == "up")
                    .await;
            }
            Fault::ConnectionCut => pass_through(proxy, Way::Cut).await,
            Fault::BlackHole => pass_through(proxy, Way::Hole).await,
            Fault::ScriptsFlushed => nodes[0].exec(&["SCRIPT", "FLUSH"]).await,
            Fault::MemoryFull => {
                nodes[0].exec(&["CONFIG", "SET", "maxmemory", "1"]).await;
                sleep(Duration::from_secs(2)).await;
                nodes[0].exec(&["CONFIG", "SET", "maxmemory", "0"]).await;
            }
        }
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

async fn pass_through(proxy: &Proxy, way: Way) {
    let open = proxy.way();
    proxy.set(way);
    sleep(Duration::from_secs(2)).await;
    proxy.set(open);
}

async fn promote(World { nodes, proxy, wire, .. }: &mut World) {
    wire.set(Way::Cut);
    // So long that the primary also acknowledges what it writes to its file once a second.
    sleep(Duration::from_millis(1500)).await;
    nodes[0].kill();
    proxy.set(Way::Cut);
    let mut offsets = Vec::new();
    for replica in &nodes[1..] {
        eventually("the replica sees it", async || replica.info("master_link_status").await == "down").await;
        offsets.push(replica.info("slave_repl_offset").await.parse::<u64>().expect("a number"));
    }
    let (first, second) = if offsets[0] >= offsets[1] { (1, 2) } else { (2, 1) };
    nodes[first].exec(&["REPLICAOF", "NO", "ONE"]).await;
    nodes[second].exec(&["REPLICAOF", "127.0.0.1", &nodes[first].port.to_string()]).await;
    let replica = &nodes[second];
    eventually("the other follows", async || replica.info("master_link_status").await == "up").await;
    proxy.set(Way::To(nodes[first].port));
}
