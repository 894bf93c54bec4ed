//! The program in a process of its own, with TLS and a token.

use std::{
    net::SocketAddr,
    process::{Command, Stdio},
};

use kelvin_testing::{Process, eventually_ok, free_port};

use super::Files;

/// A server that is ready; gone when dropped.
pub(crate) struct Program {
    pub(crate) process: Process,
    pub(crate) address: SocketAddr,
}

impl Program {
    /// Starts one with the settings of `files` and others on top, and waits until it is ready.
    pub(crate) async fn start(files: &Files, settings: &[(&str, &str)]) -> Self {
        let [address, health] = [(); 2].map(|()| SocketAddr::from(([127, 0, 0, 1], free_port())));
        let process = Command::new(env!("CARGO_BIN_EXE_kelvin-server"))
            .env_clear()
            .envs(files.settings())
            .env("KELVIN_LISTEN", address.to_string())
            .env("KELVIN_HEALTH_LISTEN", health.to_string())
            .envs(settings.iter().copied())
            .stdout(Stdio::null())
            .spawn()
            .expect("the server starts");
        let program = Self { process: Process::new(process), address };
        eventually_ok("the server is ready", async || kelvin_app::health::check(health).await).await;
        program
    }
}
