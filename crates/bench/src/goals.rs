//! The exit code of a benchmark with goals.

use std::process::ExitCode;

/// The argument that all benchmarks with goals take.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct Goals {
    /// Fail when a goal is missed or not measured
    #[arg(long)]
    check: bool,
}

impl Goals {
    /// Returns a failure if goals are checked and not all are reached.
    #[must_use]
    pub fn exit_code(self, reached: bool) -> ExitCode {
        if self.check && !reached { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    }
}
