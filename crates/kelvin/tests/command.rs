//! The command line.

use std::process::{Command, Output};

fn kelvin(arguments: &[&str]) -> (Option<i32>, String, String) {
    let command = Command::new(env!("CARGO_BIN_EXE_kelvin")).args(arguments).output();
    let Output { status, stdout, stderr } = command.unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

#[test]
fn help_lists_all_commands() {
    let (code, help, _) = kelvin(&["--help"]);
    assert_eq!(code, Some(0));
    for command in ["demo", "certs", "load"] {
        assert!(help.contains(command), "{help}");
        assert_eq!(kelvin(&[command, "--help"]).0, Some(0));
    }
}

#[test]
fn unknown_argument_exits_64() {
    let nowhere = std::env::temp_dir().join("kelvin-certs-with-wrong-names").display().to_string();
    for wrong in [
        &[][..],
        &["dome"],
        &["demo", "--duration", "soon"],
        &["certs", &nowhere, "--names", ""],
        &["certs", &nowhere, "--names", "localhost,"],
        &["certs", &nowhere, "--names", "a b"],
        &["load", "--cert", "x"],
        &["load", "--address", "::1:50051"],
        &["load", "--address", "user:password@localhost:1"],
        &["load", "--connections", "18446744073709551615"],
        &["load", "--streams", "0"],
        &["load", "--threads", "0"],
        &["load", "--sensors", "1000000000000"],
        &["load", "--sensors", "18446744073709551615"],
        &["load", "--messages", "18446744073709551615"],
        &["load", "--duration", "0s"],
        &["load", "--ca", "/nowhere/ca.pem"],
        &["load", "--plaintext", "--token-file", "/nowhere/token"],
        &["load", "--server-name", "localhost:1"],
    ] {
        let (code, out, error) = kelvin(wrong);
        assert_eq!((code, out.as_str()), (Some(64), ""), "{wrong:?}");
        assert!(error.contains("--help") && !error.contains("panicked"), "{error}");
        if let Some(option) = wrong.iter().rfind(|argument| argument.starts_with("--")) {
            assert!(error.contains(&option[2..]), "{error}");
        }
    }
}

#[test]
fn missing_temporary_directory_is_reported() {
    let mut demo = Command::new(env!("CARGO_BIN_EXE_kelvin"));
    let Output { status, stderr, .. } =
        demo.args(["demo", "--plain"]).env("TMPDIR", "/nowhere").output().unwrap();
    let error = String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(1), "{error}");
    assert!(error.contains("/nowhere") && error.contains("TMPDIR"), "{error}");
}
