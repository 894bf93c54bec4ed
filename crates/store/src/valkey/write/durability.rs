//! The wait for replicas or disk that `acknowledge` asks for. It follows the writes on their connection, because Valkey
//! counts what *that connection* wrote.

use redis::{Cmd, Value};

use super::super::{
    cluster::{Failure, Nodes, wait_limit},
    settings::Acknowledge,
};

/// Waits for what this connection has written so far.
pub(super) fn wait(nodes: &Nodes) -> Option<Cmd> {
    let limit = u64::try_from(wait_limit(nodes.settings()).as_millis()).unwrap_or(u64::MAX);
    match nodes.settings().acknowledge {
        Acknowledge::Primary => None,
        Acknowledge::Replica => Some(redis::cmd("WAIT").arg(1).arg(limit).take()),
        Acknowledge::Fsync => Some(redis::cmd("WAITAOF").arg(1).arg(0).arg(limit).take()),
    }
}

/// Returns whether enough replicas or disks have it. If not, the outcome is unknown: the primary has the readings.
pub(super) fn acknowledged(reply: Value) -> Result<(), Failure> {
    let reached = match Failure::check(reply)? {
        Value::Int(reached) => reached,
        Value::Array(reached) => match reached.first() {
            Some(Value::Int(reached)) => *reached,
            _ => return Err(unreadable()),
        },
        _ => return Err(unreadable()),
    };
    if reached > 0 {
        Ok(())
    } else {
        Err(Failure::Unknown("the readings did not reach a replica or disk in time".to_owned()))
    }
}

pub(super) fn unreadable() -> Failure {
    Failure::Unknown("cannot parse the reply to WAIT or WAITAOF".to_owned())
}
