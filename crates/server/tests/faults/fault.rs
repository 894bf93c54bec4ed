use kelvin_testing::{eventually, valkey::cluster_info};
use std::time::Duration;

use kelvin_server::Acknowledge;
use tokio::time::sleep;

use crate::{
    proxy::{Proxy, Way},
    world::World,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    ServerKilled,
    ServerStopped,
    ValkeyRestarted,
    ReplicaStopped,
    PrimaryLost,
    ClusterFailover,
    ConnectionCut,
    BlackHole,
    ScriptsFlushed,
    MemoryFull,
}

impl Fault {
    pub(crate) const ALL: [Self; 10] = [
        Self::ServerKilled,
        Self::ServerStopped,
        Self::ValkeyRestarted,
        Self::ReplicaStopped,
        Self::PrimaryLost,
        Self::ClusterFailover,
        Self::ConnectionCut,
        Self::BlackHole,
        Self::ScriptsFlushed,
        Self::MemoryFull,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::ServerKilled => "server killed",
            Self::ServerStopped => "server stopped for 5 s",
            Self::ValkeyRestarted => "Valkey killed and restarted on its file",
            Self::ReplicaStopped => "replica stopped",
            Self::PrimaryLost => "primary lost, most advanced replica promoted",
            Self::ClusterFailover => "cluster failover",
            Self::ConnectionCut => "connection cut",
            Self::BlackHole => "connection black-holed",
            Self::ScriptsFlushed => "scripts flushed",
            Self::MemoryFull => "maxmemory reached",
        }
    }

    /// Whether no acknowledged reading may be missing afterwards.
    pub(crate) fn keeps_all(self, mode: Acknowledge) -> bool {
        match self {
            Self::ValkeyRestarted => mode == Acknowledge::Fsync,
            Self::PrimaryLost | Self::ClusterFailover => mode == Acknowledge::Replica,
            _ => true,
        }
    }

    /// Whether some must be missing: the primary went on alone for a while before it was lost. Shows that the
    /// bookkeeping sees a loss.
    pub(crate) fn loses_some(self, mode: Acknowledge) -> bool {
        self == Self::PrimaryLost && mode != Acknowledge::Replica
    }

    pub(crate) fn replicas(self) -> usize {
        if self == Self::PrimaryLost { 2 } else { 1 }
    }

    /// Lets it happen and pass.
    pub(crate) async fn happen(self, world: &mut World) {
        let World { kelvins, nodes, proxy, .. } = world;
        match self {
            Self::ServerKilled => {
                kelvins[0].kill();
                sleep(Duration::from_secs(1)).await;
                kelvins[0].run();
            }
            Self::ServerStopped => {
                kelvins[0].signal("STOP");
                sleep(Duration::from_secs(5)).await;
                kelvins[0].signal("CONT");
            }
            Self::ValkeyRestarted => {
                nodes[0].kill();
                sleep(Duration::from_secs(1)).await;
                nodes[0].run().await;
                let primary = &nodes[0];
                eventually("the file is read", async || primary.info("loading").await == "0").await;
                eventually("the replica is back", async || primary.info("connected_slaves").await == "1")
                    .await;
            }
            Self::ReplicaStopped => {
                nodes[1].signal("STOP");
                sleep(Duration::from_secs(3)).await;
                nodes[1].signal("CONT");
            }
            Self::PrimaryLost => promote(world).await,
            Self::ClusterFailover => {
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
            Self::ConnectionCut => pass_through(proxy, Way::Cut).await,
            Self::BlackHole => pass_through(proxy, Way::Hole).await,
            Self::ScriptsFlushed => nodes[0].tell(&["SCRIPT", "FLUSH"]).await,
            Self::MemoryFull => {
                nodes[0].tell(&["CONFIG", "SET", "maxmemory", "1"]).await;
                sleep(Duration::from_secs(2)).await;
                nodes[0].tell(&["CONFIG", "SET", "maxmemory", "0"]).await;
            }
        }
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
    nodes[first].tell(&["REPLICAOF", "NO", "ONE"]).await;
    nodes[second].tell(&["REPLICAOF", "127.0.0.1", &nodes[first].port.to_string()]).await;
    let replica = &nodes[second];
    eventually("the other follows", async || replica.info("master_link_status").await == "up").await;
    proxy.set(Way::To(nodes[first].port));
}
