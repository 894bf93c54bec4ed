use std::{sync::Arc, time::Duration};

use redis::{Pipeline, Value};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use tokio::time::{MissedTickBehavior, interval};

use super::{
    Acknowledge, Shared, ValkeySettings, connect,
    failure::Failure,
    keys::{SLOTS, slot},
    nodes::Nodes,
    text,
};
use crate::StoreError;

/// How often the store is written to if nobody else does.
const EVERY: Duration = Duration::from_secs(5);

/// What can be seen to be wrong without asking.
pub(super) fn settings(settings: &ValkeySettings) -> Result<(), StoreError> {
    let wrong = |text: String| Err(StoreError::Settings(text));
    if settings.addresses.is_empty() {
        return wrong("the Valkey store needs an address, host:port".to_owned());
    }
    if let Some(address) = settings.addresses.iter().find(|address| connect::split(address).is_none()) {
        return wrong(format!("`{address}` is not an address of Valkey: expected host:port"));
    }
    if settings.prefix.contains(['{', '}']) {
        return wrong("the prefix of the Valkey store's keys must not contain braces".to_owned());
    }
    if settings.partitions == 0 || settings.partitions > SLOTS {
        return wrong(format!("the Valkey store needs 1 to {SLOTS} partitions"));
    }
    if settings.timeout.is_zero() {
        return wrong("the time limit of the Valkey store must be longer than nothing".to_owned());
    }
    let credentials = settings.credentials.borrow().clone();
    let mut certificates = credentials.tls.iter().flat_map(|tls| CertificateDer::pem_slice_iter(&tls.ca));
    if credentials.tls.is_some() && certificates.next().is_none_or(|first| first.is_err()) {
        return wrong(
            "the TLS files for Valkey cannot be used: there is no certificate among its CAs".to_owned(),
        );
    }
    connect::client(settings, &settings.addresses[0])
        .map_err(|error| StoreError::Settings(format!("the TLS files for Valkey cannot be used: {error}")))?;
    Ok(())
}

/// Writes something now and then, for ever, so that an outage is seen, and a primary that is one no longer is left,
/// though nobody writes.
pub(super) async fn watch(shared: Arc<Shared>, nodes: Arc<Nodes>) {
    let (slot, pipeline) = mark(nodes.settings());
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let answer = nodes.query(slot, "SET", &pipeline).await;
        shared.availability.note(answer.as_ref().err().map(Failure::text));
    }
}

/// Writes down the number of partitions unless one is there already, and asks for it; with the slot of its key.
fn mark(settings: &ValkeySettings) -> (u16, Pipeline) {
    let name = format!("{}:partitions", settings.prefix);
    let mut pipeline = redis::pipe();
    pipeline.cmd("SET").arg(&name).arg(settings.partitions).arg("NX");
    pipeline.cmd("GET").arg(&name);
    (slot(&name), pipeline)
}

/// What the server cannot do. One that cannot be reached now may be reached later.
pub(super) async fn server(shared: &Shared, nodes: &Nodes) -> Result<(), StoreError> {
    let settings = nodes.settings();
    let (slot, mut pipeline) = mark(settings);
    pipeline.cmd("INFO").arg("persistence");
    pipeline.cmd("COMMAND").arg("INFO").arg("WAITAOF");
    let answer = match nodes.query(slot, "SET", &pipeline).await {
        Ok(answer) => answer,
        Err(failure) => {
            shared.availability.note(Some(failure.text()));
            return Ok(());
        }
    };
    let [_, partitions, info, waitaof] = &answer[..] else { return Ok(()) };
    if let Some(there) = text(partitions)
        && there != settings.partitions.to_string()
    {
        let text = format!("this Valkey holds readings in {there} partitions, not {}", settings.partitions);
        return Err(StoreError::Settings(text));
    }
    if settings.acknowledge == Acknowledge::Fsync {
        let file = info_text(info).is_some_and(|info| info.contains("aof_enabled:1"));
        let known =
            matches!(waitaof, Value::Array(commands) if matches!(commands.first(), Some(Value::Array(_))));
        if !file || !known {
            let text = "acknowledging by fsync needs Valkey, or Redis from 7.2, with `appendonly yes`";
            return Err(StoreError::Settings(text.to_owned()));
        }
    }
    Ok(())
}

fn info_text(value: &Value) -> Option<&str> {
    match value {
        Value::VerbatimString { text, .. } => Some(text),
        value => text(value),
    }
}
