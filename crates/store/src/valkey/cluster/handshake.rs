//! What a new connection verifies before anything else is sent on it: the release, the append-only file where `fsync`
//! needs one, and the number of partitions that the readings there are in.

use redis::{Pipeline, Value};

use super::super::{
    settings::{Acknowledge, ValkeySettings},
    value::{info, info_field, text},
};

/// The first release with sharded publish/subscribe and scripts that declare flags.
const OLDEST: (u32, u32) = (7, 0);
const FIRST_WITH_WAITAOF: (u32, u32) = (7, 2);

/// Asks for the release and the layout.
pub(super) fn commands(settings: &ValkeySettings) -> Pipeline {
    let mut pipeline = redis::pipe();
    pipeline.cmd("INFO");
    for command in layout_marker(settings).cmd_iter() {
        pipeline.add_command(command.clone());
    }
    pipeline
}

/// Returns whether a server that replies so is compatible; the error says what to do. A node of a cluster that does not serve
/// the marker's slot answers `MOVED` to that part, which says nothing about the layout.
pub(super) fn validate_replies(settings: &ValkeySettings, replies: &[Value]) -> Result<(), String> {
    validate_server(settings, replies.first().unwrap_or(&Value::Nil))?;
    replies.get(2).and_then(text).map_or(Ok(()), |stored| validate_partitions(settings, stored))
}

fn validate_server(settings: &ValkeySettings, reply: &Value) -> Result<(), String> {
    let field = |name: &str| info_field(info(reply), name);
    // Valkey reports the Redis release that it is compatible with here.
    let release = field("redis_version").and_then(|version| {
        let mut numbers = version.trim().split('.').map(str::parse::<u32>);
        Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
    });
    if let Some((major, minor)) = release.filter(|release| *release < OLDEST) {
        return Err(format!("Redis {major}.{minor} is too old: Kelvin needs Valkey, or Redis 7 or later"));
    }
    let on_disk = release.is_some_and(|release| release >= FIRST_WITH_WAITAOF)
        && field("aof_enabled").is_some_and(|enabled| enabled.trim() == "1");
    if settings.acknowledge == Acknowledge::Fsync && !on_disk {
        return Err(
            "acknowledging by fsync needs Valkey, or Redis 7.2 or later, with `appendonly yes`".to_owned()
        );
    }
    Ok(())
}

pub(super) fn validate_partitions(settings: &ValkeySettings, stored: &str) -> Result<(), String> {
    let expected = settings.partitions;
    if stored == expected.to_string() {
        return Ok(());
    }
    Err(format!("this Valkey holds readings in {stored} partitions, not {expected}; use another Valkey"))
}

pub(super) fn layout_key(settings: &ValkeySettings) -> String {
    format!("{}:partitions", settings.prefix)
}

/// Stores the number of partitions unless one is stored already, and asks for it. `NX` makes the first server win.
pub(super) fn layout_marker(settings: &ValkeySettings) -> Pipeline {
    let mut pipeline = redis::pipe();
    pipeline.cmd("SET").arg(layout_key(settings)).arg(settings.partitions).arg("NX");
    pipeline.cmd("GET").arg(layout_key(settings));
    pipeline
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::watch;

    use super::*;

    #[test]
    fn incompatible_server_is_rejected_by_its_info() {
        let validate = |acknowledge, info: &str| {
            let settings = ValkeySettings {
                addresses: Vec::new(),
                cluster: false,
                username: None,
                acknowledge,
                prefix: String::new(),
                partitions: 1,
                timeout: Duration::from_secs(1),
                credentials: watch::channel(crate::Credentials::default()).1,
            };
            validate_server(&settings, &Value::BulkString(info.into())).err().unwrap_or_default()
        };
        let info =
            |version: &str, aof| format!("# Server\r\nredis_version:{version}\r\naof_enabled:{aof}\r\n");
        assert!(validate(Acknowledge::Primary, &info("6.2.14", 1)).contains("6.2 is too old"));
        for version in ["7.0.15", "7.2.4", "8.0.0", "10.1"] {
            assert_eq!(validate(Acknowledge::Replica, &info(version, 0)), "");
        }
        assert_eq!(validate(Acknowledge::Primary, "what is this"), "", "INFO may be hidden by an ACL");
        for (version, aof, good) in [("7.0.15", 1, false), ("7.2.4", 0, false), ("7.2.4", 1, true)] {
            assert_eq!(validate(Acknowledge::Fsync, &info(version, aof)).is_empty(), good, "{version} {aof}");
        }
        assert!(validate(Acknowledge::Fsync, "what is this").contains("appendonly"));
    }
}
