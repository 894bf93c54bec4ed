//! The exit code of a benchmark with goals.

use std::process::ExitCode;

/// The argument that all benchmarks with goals take.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct Goals {
    /// Fail when a goal is not reached
    #[arg(long)]
    check: bool,
}

impl Goals {
    /// Returns a failure if a goal is missed and goals are checked.
    #[must_use]
    pub fn exit_code(self, reached: bool) -> ExitCode {
        if self.check && !reached { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    }
}
