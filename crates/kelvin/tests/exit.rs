//! How commands exit: no secret is left behind, files are complete, and nothing panics.

use std::{
    ffi::OsStr,
    fs::{self, OpenOptions},
    os::unix::ffi::OsStrExt as _,
    path::Path,
    process::{ChildStdout, Command, Output, Stdio},
};

use kelvin_testing::{Lines, Process};

fn kelvin(temporary: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kelvin"));
    command.env("TMPDIR", temporary).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A demo that serves, and the lines it prints.
fn demo(temporary: &Path) -> (Process, Lines<ChildStdout>) {
    let mut demo = Process::new(kelvin(temporary).args(["demo", "--plain", "--port", "0"]).spawn().unwrap());
    let mut lines = demo.lines();
    lines.until("serving at");
    assert_eq!(fs::read_dir(temporary).unwrap().count(), 1, "the demo's directory");
    (demo, lines)
}

fn assert_clean(temporary: &Path, Output { status, stderr, .. }: &Output) {
    let stderr = String::from_utf8_lossy(stderr);
    assert!(!stderr.contains("panicked"), "{stderr}");
    assert_ne!(status.code(), Some(101), "{stderr}");
    let left: Vec<_> = fs::read_dir(temporary).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(left.is_empty(), "{left:?} after {status}");
}

#[test]
fn demo_removes_its_keys_at_every_signal() {
    for signal in ["HUP", "QUIT", "TERM", "INT", "USR1", "XCPU"] {
        let temporary = tempfile::tempdir().unwrap();
        let (demo, lines) = demo(temporary.path());
        // A closed terminal takes the reader away too.
        drop(lines);
        demo.signal(signal);
        assert_clean(temporary.path(), &demo.wait_with_output().unwrap());
    }
}

#[test]
fn demo_exits_when_its_output_is_closed() {
    let temporary = tempfile::tempdir().unwrap();
    let (demo, lines) = demo(temporary.path());
    drop(lines);
    let output = demo.wait_with_output().unwrap();
    assert_clean(temporary.path(), &output);
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn closed_pipe_exits_0_and_full_disk_fails() {
    let temporary = tempfile::tempdir().unwrap();
    let full = || Stdio::from(OpenOptions::new().write(true).open("/dev/full").unwrap());
    let mut closed = Process::new(kelvin(temporary.path()).args(["load", "--help"]).spawn().unwrap());
    drop(closed.stdout.take());
    let output = closed.wait_with_output().unwrap();
    assert_clean(temporary.path(), &output);
    assert_eq!(output.status.code(), Some(0));
    for (arguments, code) in
        [(&["--help"][..], 1), (&["--version"], 1), (&["load", "--duration", "soon"], 64)]
    {
        let output = kelvin(temporary.path()).args(arguments).stdout(full()).output().unwrap();
        assert_clean(temporary.path(), &output);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}");
        assert!(!output.stderr.is_empty(), "{arguments:?}");
    }
}

#[test]
fn full_disk_fails_demo_and_removes_its_keys() {
    let temporary = tempfile::tempdir().unwrap();
    for arguments in [&["--plain"][..], &["--json", "--duration", "1s"]] {
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let mut demo = kelvin(temporary.path());
        let output = demo.args(["demo", "--port", "0"]).args(arguments).stdout(full).output().unwrap();
        assert_clean(temporary.path(), &output);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
    }
}

#[test]
fn certs_at_file_size_limit_leaves_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let mut certs = Command::new("sh");
    certs.args(["-c", "ulimit -f 0; exec \"$0\" certs \"$1\"", env!("CARGO_BIN_EXE_kelvin")]);
    let output = certs.arg(dir.path()).output().unwrap();
    assert_clean(dir.path(), &output);
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn demo_tolerates_non_utf8_environment_and_invalid_rust_log() {
    let temporary = tempfile::tempdir().unwrap();
    let mut demo = kelvin(temporary.path());
    demo.args(["demo", "--plain", "--port", "0", "--duration", "1s"]);
    demo.env("FOO", OsStr::from_bytes(b"\xff")).env("RUST_LOG", "=[[[");
    let mut demo = Process::new(demo.spawn().unwrap());
    // Nobody reads that the level is wrong.
    drop(demo.stderr.take());
    let output = demo.wait_with_output().unwrap();
    assert_clean(temporary.path(), &output);
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn certs_writes_all_files_before_it_prints() {
    let temporary = tempfile::tempdir().unwrap();
    let files =
        ["ca", "client", "server"].map(|name| [format!("{name}.crt"), format!("{name}.key")]).concat();
    let full = || Stdio::from(OpenOptions::new().write(true).open("/dev/full").unwrap());
    for (case, code) in [("closed", 0), ("full", 1)] {
        let dir = tempfile::tempdir().unwrap();
        let mut certs = kelvin(temporary.path());
        certs.arg("certs").arg(dir.path());
        if case == "full" {
            certs.stdout(full());
        }
        let mut certs = Process::new(certs.spawn().unwrap());
        drop(certs.stdout.take());
        let output = certs.wait_with_output().unwrap();
        assert_clean(temporary.path(), &output);
        assert_eq!(output.status.code(), Some(code), "{case}: {}", String::from_utf8_lossy(&output.stderr));
        let mut written: Vec<_> = fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        written.sort();
        assert_eq!(written, files, "{case}");
    }
}
