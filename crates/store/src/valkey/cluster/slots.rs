//! Which node serves which slot.

use std::time::{Duration, Instant};

use parking_lot::Mutex;
use redis::{Pipeline, Value};

use super::{
    super::{keys::SLOTS, settings::ValkeySettings},
    failure::Failure,
};

/// The cluster is asked for its slots at most this often.
const REFRESH_INTERVAL: Duration = Duration::from_millis(100);

/// The last slot of each range and the node that serves it, ascending.
pub(super) type Ranges = Vec<(u16, String)>;

#[derive(Debug)]
pub(super) struct Slots(Mutex<State>);

#[derive(Debug)]
struct State {
    /// Empty if the cluster must be asked.
    ranges: Ranges,
    /// Nodes to ask, in this order: the configured ones, and those that served slots when they were last known.
    candidates: Vec<String>,
    asked: Option<Instant>,
}

impl Slots {
    /// Without a cluster the first address serves all slots.
    pub(super) fn new(settings: &ValkeySettings) -> Self {
        let ranges =
            if settings.cluster { Vec::new() } else { vec![(SLOTS - 1, settings.addresses[0].clone())] };
        Self(Mutex::new(State { ranges, candidates: settings.addresses.clone(), asked: None }))
    }

    pub(super) fn get(&self, slot: u16) -> Option<String> {
        let state = self.0.lock();
        let at = state.ranges.partition_point(|(last, _)| *last < slot);
        state.ranges.get(at).map(|(_, address)| address.clone())
    }

    /// Forgets the ranges; the next [`get`](Self::get) finds none and the cluster is asked.
    pub(super) fn invalidate(&self) {
        self.0.lock().ranges.clear();
    }

    /// The nodes to ask for the ranges, or nothing if they were asked a moment ago.
    pub(super) fn begin_refresh(&self) -> Option<Vec<String>> {
        let mut state = self.0.lock();
        if state.asked.is_some_and(|asked| asked.elapsed() < REFRESH_INTERVAL) {
            return None;
        }
        state.asked = Some(Instant::now());
        Some(state.candidates.clone())
    }

    /// Takes over what `answered` said and returns every node that is known now.
    pub(super) fn replace(&self, ranges: Ranges, answered: &str, configured: &[String]) -> Vec<String> {
        // The node that answered comes first: one before it did not answer and would delay the next refresh too.
        let mut candidates = vec![answered.to_owned()];
        for address in configured.iter().chain(ranges.iter().map(|(_, node)| node)) {
            if !candidates.contains(address) {
                candidates.push(address.clone());
            }
        }
        let mut state = self.0.lock();
        state.ranges = ranges;
        state.candidates.clone_from(&candidates);
        candidates
    }
}

pub(super) fn command() -> Pipeline {
    let mut pipeline = redis::pipe();
    pipeline.cmd("CLUSTER").arg("SLOTS");
    pipeline
}

/// Reads the answer to `CLUSTER SLOTS`. A node that does not know its own name is known by the address it was asked
/// under.
pub(super) fn parse(answer: Vec<Value>, asked: &str) -> Result<Ranges, Failure> {
    let answer = answer.into_iter().next().map_or(Ok(Value::Nil), Failure::check)?;
    let Value::Array(ranges) = answer else { return Err(unreadable()) };
    let mut ranges = ranges
        .iter()
        .map(|range| parse_range(range, asked))
        .collect::<Option<Vec<_>>>()
        .ok_or_else(unreadable)?;
    ranges.sort_unstable();
    if ranges.is_empty() {
        return Err(Failure::NotSent("the cluster has no slots assigned".to_owned()));
    }
    Ok(ranges)
}

fn parse_range(range: &Value, asked: &str) -> Option<(u16, String)> {
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
    Failure::NotSent("cannot parse the reply to CLUSTER SLOTS".to_owned())
}
