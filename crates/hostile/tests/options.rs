//! Command-line options of `kelvin-hostile` that end before an attack starts.

use std::{
    collections::HashSet,
    process::{Command, Output},
};

fn hostile(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_kelvin-hostile")).args(arguments).output().expect("the program runs")
}

#[test]
fn list_describes_each_case_once() {
    let output = hostile(&["--list"]);
    assert!(output.status.success(), "{output:?}");
    let list = String::from_utf8(output.stdout).expect("text");
    let mut names = HashSet::new();
    for line in list.lines() {
        let (name, about) = line.split_once(' ').expect("a name and a description");
        assert!(names.insert(name) && about.trim().contains(' '), "{line}");
    }
    assert!(names.contains("tiny_frames") && names.len() > 40, "{list}");
}

#[test]
fn unknown_case_exits_64() {
    let output = hostile(&["--case", "tiny_fromes"]);
    assert_eq!(output.status.code(), Some(64), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("--list"), "{output:?}");
}
