use redis::{Pipeline, Value};

use super::failure::Failure;

/// Which node is in charge of which slots.
pub(super) fn question() -> Pipeline {
    let mut pipeline = redis::pipe();
    pipeline.cmd("CLUSTER").arg("SLOTS");
    pipeline
}

/// The last slot of each range with its primary, ascending. A node that does not know its own name is known by the
/// one it was asked under.
pub(super) fn read(answer: Vec<Value>, asked: &str) -> Result<Vec<(u16, String)>, Failure> {
    let answer = answer.into_iter().next().map_or(Ok(Value::Nil), Failure::check)?;
    let Value::Array(ranges) = answer else { return Err(unreadable()) };
    let mut routes =
        ranges.iter().map(|range| route(range, asked)).collect::<Option<Vec<_>>>().ok_or_else(unreadable)?;
    routes.sort_unstable();
    if routes.is_empty() {
        return Err(Failure::NotSent("the cluster has no slots assigned".to_owned()));
    }
    Ok(routes)
}

fn route(range: &Value, asked: &str) -> Option<(u16, String)> {
    let Value::Array(fields) = range else { return None };
    let (Value::Int(last), Value::Array(primary)) = (fields.get(1)?, fields.get(2)?) else { return None };
    let host = match primary.first()? {
        Value::BulkString(host) if !host.is_empty() && host != b"?" => std::str::from_utf8(host).ok()?,
        _ => asked.rsplit_once(':')?.0,
    };
    let Value::Int(port) = primary.get(1)? else { return None };
    Some((u16::try_from(*last).ok()?, format!("{host}:{port}")))
}

fn unreadable() -> Failure {
    Failure::NotSent("the answer to CLUSTER SLOTS cannot be read".to_owned())
}
