use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

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

/// How often the store is looked at if nobody else does.
const EVERY: Duration = Duration::from_secs(5);
/// The first release with sharded publish/subscribe and scripts that say what they do.
const OLDEST: (u32, u32) = (7, 0);
const FIRST_WITH_WAITAOF: (u32, u32) = (7, 2);

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

/// What a new connection asks: what the server is, and how the readings there are laid out.
pub(super) fn questions(settings: &ValkeySettings) -> Pipeline {
    let mut pipeline = redis::pipe();
    pipeline.cmd("INFO");
    for command in mark(settings).cmd_iter() {
        pipeline.add_command(command.clone());
    }
    pipeline
}

/// Whether a server that answers so can be used; if not, what to do. A node of a cluster may leave the second question
/// to another.
pub(super) fn answers(settings: &ValkeySettings, answers: &[Value]) -> Result<(), String> {
    server(settings, answers.first().unwrap_or(&Value::Nil))?;
    answers.get(2).and_then(text).map_or(Ok(()), |there| partitions(settings, there))
}

fn server(settings: &ValkeySettings, answer: &Value) -> Result<(), String> {
    let field = |name: &str| field(info(answer), name);
    // Valkey tells which Redis it is as good as.
    let release = field("redis_version").and_then(|version| {
        let mut numbers = version.trim().split('.').map(str::parse::<u32>);
        Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
    });
    if let Some((major, minor)) = release.filter(|release| *release < OLDEST) {
        return Err(format!(
            "Redis {major}.{minor} is too old: Kelvin needs Valkey, or Redis from version 7"
        ));
    }
    let on_disk = release.is_some_and(|release| release >= FIRST_WITH_WAITAOF)
        && field("aof_enabled").is_some_and(|enabled| enabled.trim() == "1");
    if settings.acknowledge == Acknowledge::Fsync && !on_disk {
        return Err(
            "acknowledging by fsync needs Valkey, or Redis from 7.2, with `appendonly yes`".to_owned()
        );
    }
    Ok(())
}

/// The text that `INFO` answers.
pub(super) fn info(answer: &Value) -> &str {
    match answer {
        Value::VerbatimString { text, .. } => text,
        value => text(value).unwrap_or_default(),
    }
}

/// A field of that text.
pub(super) fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

fn partitions(settings: &ValkeySettings, there: &str) -> Result<(), String> {
    let ours = settings.partitions;
    if there == ours.to_string() {
        return Ok(());
    }
    Err(format!("this Valkey holds readings in {there} partitions, not {ours}"))
}

/// Whether the readings are laid out as this server lays them out: asked here until it is known. From then on every
/// connection asks, and [`watch`].
pub(super) async fn layout(nodes: &Nodes) -> Result<(), Failure> {
    if nodes.fits.load(Relaxed) { Ok(()) } else { look(nodes).await }
}

/// Looks now and then, for ever, so that an outage is seen, and a primary that is one no longer is left, though nobody
/// writes. What was away is so looked at when it comes, and what came without what is needed is told of.
pub(super) async fn watch(shared: Arc<Shared>, nodes: Arc<Nodes>) {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        match look(&nodes).await {
            Err(Failure::Unfit(why)) => shared.availability.note_unfit(&why),
            looked => shared.availability.note(looked.as_ref().err().map(Failure::text)),
        }
    }
}

async fn look(nodes: &Nodes) -> Result<(), Failure> {
    let settings = nodes.settings();
    let answers = nodes.query(slot(&mark_key(settings)), "SET", &mark(settings)).await?;
    let there = answers.get(1).and_then(text);
    let there =
        there.ok_or_else(|| Failure::NotSent("the number of partitions cannot be read".to_owned()))?;
    let fits = partitions(settings, there);
    nodes.fits.store(fits.is_ok(), Relaxed);
    fits.map_err(Failure::Unfit)
}

fn mark_key(settings: &ValkeySettings) -> String {
    format!("{}:partitions", settings.prefix)
}

/// Writes down the number of partitions unless one is there already, and asks for it.
fn mark(settings: &ValkeySettings) -> Pipeline {
    let mut pipeline = redis::pipe();
    pipeline.cmd("SET").arg(mark_key(settings)).arg(settings.partitions).arg("NX");
    pipeline.cmd("GET").arg(mark_key(settings));
    pipeline
}

#[cfg(test)]
mod tests {
    use redis::Value;
    use tokio::sync::watch;

    use super::*;

    #[test]
    fn a_server_is_judged_by_what_it_says_of_itself() {
        let judge = |acknowledge, info: &str| {
            let settings = ValkeySettings {
                addresses: Vec::new(),
                cluster: false,
                username: None,
                acknowledge,
                prefix: String::new(),
                partitions: 1,
                timeout: EVERY,
                credentials: watch::channel(crate::Credentials::default()).1,
            };
            server(&settings, &Value::BulkString(info.into())).err().unwrap_or_default()
        };
        let info =
            |version: &str, aof| format!("# Server\r\nredis_version:{version}\r\naof_enabled:{aof}\r\n");
        assert!(judge(Acknowledge::Primary, &info("6.2.14", 1)).contains("6.2 is too old"));
        for version in ["7.0.15", "7.2.4", "8.0.0", "10.1"] {
            assert_eq!(judge(Acknowledge::Replica, &info(version, 0)), "");
        }
        assert_eq!(judge(Acknowledge::Primary, "what is this"), "", "it may not be ours to see");
        for (version, aof, good) in [("7.0.15", 1, false), ("7.2.4", 0, false), ("7.2.4", 1, true)] {
            assert_eq!(judge(Acknowledge::Fsync, &info(version, aof)).is_empty(), good, "{version} {aof}");
        }
        assert!(judge(Acknowledge::Fsync, "what is this").contains("appendonly"));
    }
}
