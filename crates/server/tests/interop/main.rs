//! Other implementations of gRPC against the program: grpcio and grpcurl.

mod grpcurl;
mod python;

#[path = "../support/mod.rs"]
mod support;

use std::{
    net::SocketAddr,
    process::{Command, Stdio},
};

use kelvin_testing::{Process, free_port, not_run};
use support::{Files, eventually};

/// The program, with TLS and a token.
struct Program {
    process: Process,
    files: Files,
    address: SocketAddr,
}

impl Program {
    async fn start() -> Self {
        let files = Files::new();
        let [address, health] = [(); 2].map(|()| SocketAddr::from(([127, 0, 0, 1], free_port())));
        let process = Command::new(env!("CARGO_BIN_EXE_kelvin-server"))
            .env_clear()
            .envs(files.settings())
            .env("KELVIN_LISTEN", address.to_string())
            .env("KELVIN_HEALTH_LISTEN", health.to_string())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let program = Self { process: Process::new(process), files, address };
        eventually("the server is ready", || async { kelvin_app::health::check(health).await.ok() }).await;
        program
    }
}

/// Whether there is a program of this name.
fn is_there(program: &str, argument: &str) -> bool {
    let there = Command::new(program).arg(argument).output().is_ok_and(|output| output.status.success());
    if !there {
        not_run(program, &format!("{program} is not installed"));
    }
    there
}
