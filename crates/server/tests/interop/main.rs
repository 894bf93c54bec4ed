//! Other implementations of gRPC against the program: grpcio and grpcurl.

mod grpcurl;
mod python;

#[path = "../support/mod.rs"]
mod support;

use std::{
    net::{SocketAddr, TcpListener},
    process::{Child, Command, Stdio},
};

use support::{Files, eventually};

/// The program, with TLS and a token.
struct Program {
    process: Child,
    files: Files,
    address: SocketAddr,
}

impl Program {
    async fn start() -> Self {
        let files = Files::new();
        let [address, health] = [free_port(), free_port()];
        let process = Command::new(env!("CARGO_BIN_EXE_kelvin-server"))
            .env_clear()
            .envs(files.settings())
            .env("KELVIN_LISTEN", address.to_string())
            .env("KELVIN_HEALTH_LISTEN", health.to_string())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let program = Self { process, files, address };
        eventually("the server is ready", || async { kelvin_app::health::check(health).await.ok() }).await;
        program
    }

    /// Stops the process for a while, or lets it go on.
    fn signal(&self, signal: &str) {
        let id = self.process.id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// Whether there is a program of this name. Without it a test is skipped, loudly; never in CI.
fn is_there(program: &str, argument: &str) -> bool {
    let there = Command::new(program).arg(argument).output().is_ok_and(|output| output.status.success());
    assert!(there || std::env::var_os("CI").is_none(), "CI needs {program}");
    if !there {
        eprintln!("\n*** SKIPPED: there is no {program} here ***\n");
    }
    there
}
