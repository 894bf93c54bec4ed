use std::{net::SocketAddr, process::Stdio, time::Duration};

use kelvin_testing::{free_port, send_signal};
use tokio::{
    process::{Child, Command},
    time::timeout,
};

use crate::support::{Files, eventually};

/// Longer than delay and drain together.
const END: Duration = Duration::from_secs(20);

/// The program in a process of its own; killed when dropped.
pub(crate) struct Server {
    process: Child,
    pub(crate) address: SocketAddr,
}

impl Server {
    /// Starts it and waits until it is ready.
    pub(crate) async fn start(files: &Files) -> Self {
        let [address, health] =
            [free_port(), free_port()].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        let process = Command::new(env!("CARGO_BIN_EXE_kelvin-server"))
            .env_clear()
            .envs(files.settings())
            .env("KELVIN_LISTEN", address.to_string())
            .env("KELVIN_HEALTH_LISTEN", health.to_string())
            // As long as an endpoint needs to leave a Service, shortened.
            .env("KELVIN_DRAIN_DELAY", "200ms")
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("the server starts");
        eventually("the server is ready", || async { kelvin_app::health::check(health).await.ok() }).await;
        Self { process, address }
    }

    /// Sends SIGTERM and waits for the orderly end.
    pub(crate) async fn terminate(mut self) {
        send_signal(self.process.id().expect("it runs"), "TERM");
        let status =
            timeout(END, self.process.wait()).await.expect("the server ends").expect("it was waited for");
        assert!(status.success(), "the server ended with {status}");
    }
}
