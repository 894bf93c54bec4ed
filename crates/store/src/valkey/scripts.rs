use std::sync::LazyLock;

use redis::{Cmd, Pipeline, cmd};

/// Known to a node by its digest, so that servers of neighbouring releases each run their own.
pub(super) struct Script {
    code: &'static str,
    digest: String,
}

pub(super) static APPEND: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("scripts/append.lua")));
pub(super) static RANGE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("scripts/range.lua")));
pub(super) static TAIL: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("scripts/tail.lua")));
pub(super) static ALERT: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("scripts/alert.lua")));

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

/// Makes a node know all scripts.
pub(super) fn load() -> Pipeline {
    let mut pipeline = redis::pipe();
    for script in [&APPEND, &RANGE, &TAIL, &ALERT] {
        pipeline.cmd("SCRIPT").arg("LOAD").arg(script.code);
    }
    pipeline
}
