use std::{path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};

use crate::duration;

/// Runs the server and four clients on this machine, with TLS, mTLS and tokens, and shows what happens
#[derive(Args)]
pub(crate) struct Arguments {
    /// Print one line per second instead of the terminal UI; the default without a terminal
    #[arg(long)]
    pub(super) plain: bool,
    /// Stop after this time and print a summary
    #[arg(long, value_parser = duration::parse)]
    pub(super) duration: Option<Duration>,
    /// When the demo stops, save the terminal UI to this file as SVG
    #[arg(long, value_name = "FILE")]
    pub(super) picture: Option<PathBuf>,
    /// Print only the summary to standard output, as one JSON object
    #[arg(long)]
    pub(super) json: bool,
    /// Loopback port that the server listens on; 0 picks a free port
    #[arg(long, default_value_t = 50051)]
    pub(super) port: u16,
    /// Where readings are kept; for valkey, set `KELVIN_VALKEY_ADDRESS` and the other `KELVIN_VALKEY_*` variables
    #[arg(long, value_enum, default_value = "memory")]
    pub(super) store: Store,
}

#[derive(Clone, Copy, ValueEnum)]
pub(super) enum Store {
    Memory,
    Valkey,
}
