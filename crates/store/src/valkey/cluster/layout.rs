//! Verifies that the readings in Valkey have this server's layout.

use std::sync::atomic::Ordering::Relaxed;

use super::{
    super::{keys::slot, value::text},
    failure::Failure,
    handshake::{layout_key, layout_marker, validate_partitions},
    nodes::Nodes,
};

impl Nodes {
    /// Verifies the layout until it has been found right once. Later changes are found by every new connection
    /// ([`handshake`](super::handshake)) and by the monitor.
    pub(in crate::valkey) async fn ensure_layout(&self) -> Result<(), Failure> {
        if self.layout_verified.load(Relaxed) { Ok(()) } else { self.verify_layout().await }
    }

    pub(in crate::valkey) async fn verify_layout(&self) -> Result<(), Failure> {
        let settings = self.settings();
        let replies =
            self.execute_retrying(slot(&layout_key(settings)), "SET", &layout_marker(settings)).await?;
        let stored = replies.get(1).and_then(text);
        let stored =
            stored.ok_or_else(|| Failure::NotSent("cannot parse the stored partition count".to_owned()))?;
        let verified = validate_partitions(settings, stored);
        self.layout_verified.store(verified.is_ok(), Relaxed);
        verified.map_err(Failure::Incompatible)
    }
}
