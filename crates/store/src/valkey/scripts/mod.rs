//! The Lua scripts that run in Valkey, each in one step: no other command runs in between.

use std::sync::LazyLock;

use redis::{Cmd, Pipeline, cmd};

/// A script, called by its digest: servers of neighbouring releases each run their own version.
pub(super) struct Script {
    code: &'static str,
    digest: String,
}

pub(super) static APPEND: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("append.lua")));
pub(super) static RANGE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("range.lua")));
pub(super) static TAIL: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("tail.lua")));
pub(super) static ALERT: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("alert.lua")));

/// Sensors in one call of [`TAIL`].
pub(super) const TAIL_SENSORS: usize = 128;

impl Script {
    fn new(code: &'static str) -> Self {
        Self { code, digest: redis::Script::new(code).get_hash().to_owned() }
    }

    /// Begins a call with its keys; the caller adds the arguments.
    pub(super) fn call<'a>(&self, keys: impl ExactSizeIterator<Item = &'a str>) -> Cmd {
        let mut call = cmd("EVALSHA");
        call.arg(&self.digest).arg(keys.len());
        for key in keys {
            call.arg(key);
        }
        call
    }
}

/// Loads all scripts into a node.
pub(super) fn load() -> Pipeline {
    let mut pipeline = redis::pipe();
    for script in [&APPEND, &RANGE, &TAIL, &ALERT] {
        pipeline.cmd("SCRIPT").arg("LOAD").arg(script.code);
    }
    pipeline
}
