//! The example program, run with its own environment.
#![allow(dead_code, reason = "not every test file uses every helper")]

use std::{io::Write, process::Stdio};

use tempfile::NamedTempFile;
use tokio::process::Command;
use tonic::transport::Identity;

pub(crate) struct Done {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// The example, told by these variables and no others.
pub(crate) fn emit(variables: &[(&str, &str)]) -> Command {
    let test = std::env::current_exe().unwrap();
    let examples = test.parent().unwrap().parent().unwrap().join("examples");
    let mut command = Command::new(examples.join("emit"));
    command.env_clear().envs(variables.iter().copied()).stdin(Stdio::null()).kill_on_drop(true);
    command
}

pub(crate) async fn run(mut command: Command) -> Done {
    let output = command.output().await.unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{stdout}{stderr}");
    Done { stdout, stderr }
}

/// A certificate for localhost and the file of the CA that vouches for it: itself.
pub(crate) fn identity() -> (Identity, NamedTempFile) {
    let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let pem = pair.cert.pem();
    let mut ca = NamedTempFile::new().unwrap();
    ca.write_all(pem.as_bytes()).unwrap();
    (Identity::from_pem(pem, pair.signing_key.serialize_pem()), ca)
}
