use std::{fmt, time::Duration};

use tokio::sync::watch;

/// The addresses of Valkey, and the acknowledgement to wait for.
#[derive(Debug, Clone)]
pub struct ValkeySettings {
    /// `host:port`. With [`cluster`](Self::cluster) several nodes to start from.
    pub addresses: Vec<String>,
    /// The addresses are nodes of a cluster; otherwise the first is used and failover is behind it.
    pub cluster: bool,
    /// The ACL user; `default` if `None`.
    pub username: Option<String>,
    /// When a write counts as stored.
    pub acknowledge: Acknowledge,
    /// The prefix of all keys, for several stores on one server. Without braces.
    pub prefix: String,
    /// Into how many hash tags the sensors are spread, [`PARTITIONS`](Self::PARTITIONS) if there is no reason for
    /// another number. It determines where the data is: the same for all servers, and fixed once there is data.
    pub partitions: u16,
    /// How long one answer may take, apart from the wait that [`acknowledge`](Self::acknowledge) asks for.
    pub timeout: Duration,
    /// Password and TLS files. On a change new connections are made and take over.
    pub credentials: watch::Receiver<Credentials>,
}

impl ValkeySettings {
    /// The usual [`prefix`](Self::prefix).
    pub const PREFIX: &str = "kelvin";
    /// The usual number of [`partitions`](Self::partitions): enough for a cluster of as many shards, each good for a
    /// million readings a second, and few enough that a flush of some dozen readings has several in each call.
    pub const PARTITIONS: u16 = 32;
}

kelvin_app::keyword_enum! {
    /// When a write counts as stored.
    pub enum Acknowledge {
        /// The primary has it in memory. Lost when the primary dies before a replica or its disk has it.
        Primary = "primary",
        /// One replica has it too (`WAIT 1`).
        Replica = "replica",
        /// The primary's append-only file has reached the disk (`WAITAOF 1 0`).
        Fsync = "fsync",
    }
}

/// Settings that may change while the store is open, read from files.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    /// The password of the user.
    pub password: Option<String>,
    /// TLS is used if there is a CA.
    pub tls: Option<TlsPem>,
}

/// PEM bytes for TLS.
#[derive(Clone, PartialEq, Eq)]
pub struct TlsPem {
    /// Certificates of the CAs that may sign the server's.
    pub ca: Vec<u8>,
    /// Certificate chain and key of this client, if the server wants one.
    pub client: Option<(Vec<u8>, Vec<u8>)>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("tls", &self.tls.is_some()).finish_non_exhaustive()
    }
}

impl fmt::Debug for TlsPem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsPem").field("client", &self.client.is_some()).finish_non_exhaustive()
    }
}
