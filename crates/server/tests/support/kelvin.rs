//! The program in a process of its own, on a store that the test brings.

use std::{
    fs::{self, File},
    path::PathBuf,
    process::{Command, Stdio},
};

use kelvin_server::Acknowledge;
use kelvin_testing::{Process, free_port};
use tempfile::TempDir;
use tonic::transport::{Channel, Endpoint};

use super::{Client, TOKEN, client};

/// A server in a process of its own; gone when dropped.
#[derive(Debug)]
pub(crate) struct Kelvin {
    process: Option<Process>,
    settings: Vec<(&'static str, String)>,
    port: u16,
    folder: TempDir,
}

impl Kelvin {
    /// Starts one whose store is at these addresses; several are a cluster's.
    pub(crate) fn start(addresses: &[String], mode: Acknowledge) -> Self {
        let (folder, port) = (tempfile::tempdir().expect("a folder for the server"), free_port());
        let tokens = folder.path().join("tokens");
        fs::write(&tokens, TOKEN).expect("the token is written");
        let settings = vec![
            ("KELVIN_LISTEN", format!("127.0.0.1:{port}")),
            ("KELVIN_HEALTH_LISTEN", String::new()),
            ("KELVIN_PLAINTEXT", "true".to_owned()),
            ("KELVIN_TOKEN_FILE", tokens.display().to_string()),
            ("KELVIN_STORE", "valkey".to_owned()),
            ("KELVIN_VALKEY_ADDRESS", addresses.join(",")),
            ("KELVIN_VALKEY_CLUSTER", (addresses.len() > 1).to_string()),
            ("KELVIN_VALKEY_ACKNOWLEDGE", mode.to_string()),
        ];
        let mut server = Self { process: None, settings, port, folder };
        server.run();
        server
    }

    /// Starts it, again perhaps, at its address.
    pub(crate) fn run(&mut self) {
        let log =
            File::options().create(true).append(true).open(self.log_file()).expect("the log can be written");
        let mut command = Command::new(env!("CARGO_BIN_EXE_kelvin-server"));
        command.env_clear().envs(self.settings.iter().map(|(name, value)| (name, value)));
        command
            .stdout(log.try_clone().expect("the log can be written twice"))
            .stderr(log)
            .stdin(Stdio::null());
        self.process = Some(Process::new(command.spawn().expect("the server starts")));
    }

    pub(crate) fn kill(&mut self) {
        self.process = None;
    }

    /// Stops the process (`STOP`), or lets it go on (`CONT`).
    pub(crate) fn signal(&self, signal: &str) {
        self.process.as_ref().expect("it runs").signal(signal);
    }

    /// A client on a connection of its own.
    pub(crate) fn client(&self) -> Client {
        client(self.connect(), TOKEN)
    }

    /// A connection that is made when needed, and made again.
    pub(crate) fn connect(&self) -> Channel {
        let address = format!("http://127.0.0.1:{}", self.port);
        Endpoint::from_shared(address).expect("it is an address").connect_lazy()
    }

    /// What it has said so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.log_file()).expect("there is a log")
    }

    /// What it last said, if it ended by itself or something in it panicked.
    pub(crate) fn crash(&mut self) -> Option<String> {
        let log = self.log();
        let panic = log.lines().find(|line| line.contains("panicked"));
        let ended = self.process.as_mut().and_then(|process| process.try_wait().expect("it can be asked"));
        match (panic, ended) {
            (Some(panic), _) => Some(panic.to_owned()),
            (None, Some(status)) => Some(format!("{status}: {}", log.lines().last().unwrap_or_default())),
            (None, None) => None,
        }
    }

    fn log_file(&self) -> PathBuf {
        self.folder.path().join("log")
    }
}
