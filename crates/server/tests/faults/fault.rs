//! What can fail, and what each acknowledgement mode must keep.

use kelvin_server::Acknowledge;

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
}
