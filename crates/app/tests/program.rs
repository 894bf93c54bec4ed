//! The example program, run as a user would.

use std::{
    path::PathBuf,
    process::{ChildStdout, Command, Output, Stdio},
    thread,
};

use kelvin_app::signal::SECOND_SIGNAL;
use kelvin_testing::{Lines, Process};

fn program() -> Command {
    let test = std::env::current_exe().unwrap();
    let examples: PathBuf = test.parent().unwrap().parent().unwrap().join("examples");
    let mut command = Command::new(examples.join("program"));
    command.env_clear();
    command
}

fn output(command: &mut Command) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

#[test]
fn help_lists_the_settings_with_defaults_and_the_commands() {
    let (code, out, _) = output(program().arg("--help"));
    assert_eq!(code, Some(0));
    assert!(out.contains("KELVIN_DRAIN_LIMIT=1h\n        How long it may take to end.\n"), "{out}");
    assert!(out.contains("fail\n        Ends with an error."), "{out}");
}

#[test]
fn version_names_program_and_version() {
    let (code, out, _) = output(program().arg("--version"));
    assert_eq!((code, out), (Some(0), format!("program {}\n", env!("CARGO_PKG_VERSION"))));
}

#[test]
fn all_invalid_settings_are_reported_and_exit_64() {
    let wrong = [("KELVIN_WORD", ""), ("KELVIN_DRAIN", "soon"), ("KELVIN_DRIAN", "1s")];
    let (code, out, err) = output(program().envs(wrong));
    assert_eq!((code, out.as_str()), (Some(64), ""));
    assert_eq!(
        err,
        "program: invalid configuration (see --help)\n  KELVIN_WORD: must not be empty\n  \
         KELVIN_DRAIN: invalid value \"soon\": expected a duration such as 250ms, 10s, 5m or 24h, at most 36500d\n  \
         KELVIN_DRIAN: unknown setting, ignored\n"
    );
}

#[test]
fn unexpected_argument_exits_64() {
    let (code, _, err) = output(program().arg("--frobnicate"));
    assert_eq!(
        (code, err.as_str()),
        (Some(64), "program: unexpected argument \"--frobnicate\" (see --help)\n")
    );
}

#[test]
fn error_exits_1() {
    let (code, _, err) = output(program().arg("fail"));
    assert_eq!((code, err.as_str()), (Some(1), "program: failed, as asked\n"));
}

#[test]
fn signal_shuts_down_gracefully() {
    for signal in ["TERM", "INT", "HUP", "QUIT", "USR1", "USR2", "ALRM", "VTALRM", "XCPU"] {
        if signal == "HUP" && hup_is_ignored() {
            continue;
        }
        let (mut child, mut lines) = start(program().env("KELVIN_WORD", "ready"));
        child.signal(signal);
        assert_eq!(lines.next().as_deref(), Some("ending"));
        assert_eq!(child.wait().unwrap().code(), Some(0));
    }
}

#[test]
fn sighup_ignored_by_the_parent_stays_ignored() {
    let script = "trap '' HUP; exec \"$0\"";
    let mut shell = Command::new("sh");
    shell.env_clear().args(["-c", script]).arg(program().get_program());
    let (mut child, mut lines) = start(&mut shell);
    child.signal("HUP");
    child.signal("TERM");
    assert_eq!(lines.next().as_deref(), Some("ending"));
    assert_eq!(child.wait().unwrap().code(), Some(0), "one signal counted, not two");
}

#[test]
fn help_into_a_closed_pipe_or_a_full_disk_does_not_panic() {
    let mut child = Process::new(program().arg("--help").stdout(Stdio::piped()).spawn().unwrap());
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));

    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let (code, _, err) = output(program().arg("--help").stdout(full).stderr(Stdio::piped()));
    assert_eq!(code, Some(1));
    assert!(err.starts_with("program: cannot write to standard output: No space left"), "{err}");
}

#[test]
fn second_signal_exits_immediately() {
    for (signal, code) in [("TERM", 143), ("INT", 130), ("HUP", 129), ("QUIT", 131)] {
        if signal == "HUP" && hup_is_ignored() {
            continue;
        }
        let (mut child, mut lines) = start(program().env("KELVIN_DRAIN", "1h"));
        child.signal("TERM");
        assert_eq!(lines.next().as_deref(), Some("ending"));
        thread::sleep(SECOND_SIGNAL * 3 / 2);
        child.signal(signal);
        assert_eq!(child.wait().unwrap().code(), Some(code));
    }
}

/// GNU `timeout` signals its child and then the child's group.
#[test]
fn same_signal_sent_twice_at_once_counts_once() {
    let (mut child, mut lines) = start(program().env("KELVIN_DRAIN", "1s"));
    let script = "kill -TERM $0; kill -TERM $0; kill -INT $0";
    assert!(Command::new("sh").args(["-c", script, &child.id().to_string()]).status().unwrap().success());
    assert_eq!(lines.next().as_deref(), Some("ending"));
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

fn start(command: &mut Command) -> (Process, Lines<ChildStdout>) {
    let mut child = Process::new(command.stdout(Stdio::piped()).spawn().unwrap());
    let mut lines = child.lines();
    assert_eq!(lines.next().as_deref(), Some("ready"));
    (child, lines)
}

/// Under `nohup` the program inherits that SIGHUP is ignored and must keep to it.
fn hup_is_ignored() -> bool {
    let shell = Command::new("sh").args(["-c", "kill -HUP $$; echo alive"]).output().unwrap();
    shell.stdout.starts_with(b"alive")
}
