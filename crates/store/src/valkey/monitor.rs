//! Background tasks of a runtime that keep its view of Valkey current.

use std::{sync::Arc, time::Duration};

use tokio::time::{MissedTickBehavior, interval};

use super::{
    cluster::{Failure, Nodes},
    shared::Shared,
};

const INTERVAL: Duration = Duration::from_secs(5);

/// Verifies the layout periodically, so that an outage is logged, and a demoted primary is left, even if no call comes.
/// A Valkey that was unreachable at the start is verified here when it comes up.
pub(super) async fn watch(shared: Arc<Shared>, nodes: Arc<Nodes>) {
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        match nodes.verify_layout().await {
            Err(Failure::Incompatible(why)) => shared.availability.note_incompatible(&why),
            verified => shared.availability.note(verified.as_ref().err().map(Failure::text)),
        }
    }
}

/// Connects again when password or TLS files change. Commands in flight end on the connections they began on.
pub(super) async fn reconnect_on_credential_change(nodes: Arc<Nodes>) {
    let mut credentials = nodes.settings().credentials.clone();
    while credentials.changed().await.is_ok() {
        tracing::info!("store credentials changed; reconnecting");
        nodes.reset();
    }
    // The sender is gone; a task that ended would end the set it belongs to.
    std::future::pending::<()>().await;
}
