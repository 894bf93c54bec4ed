//! The program: arguments, settings, exit codes, signals.

mod support;

use std::{
    io::{BufRead as _, BufReader, Read as _},
    net::{SocketAddr, TcpListener},
    process::{Child, Command, Output, Stdio},
};

use support::Files;

fn program(settings: impl IntoIterator<Item = (String, String)>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kelvin-server"));
    command.env_clear().envs(settings).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn run(settings: impl IntoIterator<Item = (String, String)>, arguments: &[&str]) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } = program(settings).args(arguments).output().unwrap();
    (status.code(), String::from_utf8([stdout, stderr].concat()).unwrap())
}

fn with(files: &Files, extra: &[(&str, &str)]) -> Vec<(String, String)> {
    let extra = extra.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let mut settings = files.settings();
    settings.retain(|(name, _)| extra.clone().all(|(other, _)| *name != other));
    settings.extend(extra);
    settings
}

#[test]
fn wrong_settings_are_all_named_and_nothing_is_bound() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    // Binding would fail and be told of first.
    let wrong = [
        ("KELVIN_LISTEN", address.as_str()),
        ("KELVIN_MAX_SENSORS", "many"),
        ("KELVIN_MTLS", "perhaps"),
        ("KELVIN_MAX_STREAM_AGE", "-1s"),
    ];
    let (code, output) = run(with(&Files::new(), &wrong), &[]);
    assert_eq!(code, Some(64), "{output}");
    for (variable, _) in &wrong[1..] {
        assert!(output.contains(variable), "{output}");
    }
    assert!(!output.contains("KELVIN_LISTEN"), "{output}");
}

#[test]
fn files_that_cannot_be_used_are_wrong_settings() {
    let files = Files::new();
    let nowhere = files.path("nowhere").display().to_string();
    let wrong = [("KELVIN_TLS_CERT", nowhere.as_str()), ("KELVIN_TOKEN_FILE", nowhere.as_str())];
    let (code, output) = run(with(&files, &wrong), &[]);
    assert_eq!(code, Some(64), "{output}");
    assert!(output.contains("KELVIN_TLS_CERT") && output.contains("KELVIN_TOKEN_FILE"), "{output}");
}

#[test]
fn a_port_in_use_is_told_with_what_to_do() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (code, output) = run(with(&Files::new(), &[("KELVIN_LISTEN", &address)]), &[]);
    assert_eq!(code, Some(1), "{output}");
    assert!(output.contains(&address) && output.contains("choose another port"), "{output}");
}

#[test]
fn help_lists_every_setting() {
    let (code, output) = run([], &["--help"]);
    assert_eq!(code, Some(0));
    for setting in kelvin_server::Config::SETTINGS {
        assert!(output.contains(setting.variable), "{}", setting.variable);
    }
}

/// Reads the log until the server serves.
fn serving_at(child: &mut Child) -> SocketAddr {
    let mut lines = BufReader::new(child.stdout.as_mut().unwrap()).lines().map(Result::unwrap);
    let line = lines.find(|line| line.contains("\"serving\"")).expect("it serves");
    let (_, address) = line.split_once("\"address\":\"").unwrap();
    address.split_once('"').unwrap().0.parse().unwrap()
}

#[test]
fn it_serves_is_healthy_and_ends_well_at_sigterm() {
    let files = Files::new();
    let mut child = program(files.settings()).spawn().unwrap();
    let address = serving_at(&mut child).to_string();
    let (code, output) = run(with(&files, &[("KELVIN_LISTEN", &address)]), &["healthcheck"]);
    assert_eq!((code, output.as_str()), (Some(0), ""));
    let signalled = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(signalled.success());
    let mut rest = String::new();
    child.stdout.take().unwrap().read_to_string(&mut rest).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0), "{rest}");
    let (code, output) = run(with(&files, &[("KELVIN_LISTEN", &address)]), &["healthcheck"]);
    assert_eq!(code, Some(1));
    assert!(output.contains("no healthy server"), "{output}");
}
