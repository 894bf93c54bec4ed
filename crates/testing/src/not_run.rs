//! Tests that cannot run where a component is missing.

use std::{
    env,
    fs::OpenOptions,
    io::{self, Write as _},
    process::Command,
    thread,
};

/// Reports that the running test does not run because `component` is missing.
///
/// The line goes past the capture of the test harness, and to the file that `NOT_RUN_FILE` names, which `make test`
/// prints at its end. Panics where [`may_be_missing`] is false.
pub fn not_run(component: &str, reason: &str) {
    assert!(may_be_missing(component), "{reason}; set NOT_HERE={component} to skip this test");
    let test = thread::current().name().unwrap_or("a test").to_owned();
    let line = format!("NOT RUN: {test}: {reason}\n");
    io::stderr().write_all(line.as_bytes()).expect("standard error can be written");
    if let Some(path) = env::var_os("NOT_RUN_FILE") {
        let mut file =
            OpenOptions::new().create(true).append(true).open(path).expect("NOT_RUN_FILE can be written");
        file.write_all(line.as_bytes()).expect("NOT_RUN_FILE can be written");
    }
}

/// Returns whether `program` is installed, which is to say that it succeeds with `argument`, such as `--version`. If it
/// is not, the running test is reported by [`not_run`].
#[must_use]
pub fn is_installed(program: &str, argument: &str) -> bool {
    let installed = Command::new(program).arg(argument).output().is_ok_and(|output| output.status.success());
    if !installed {
        not_run(program, &format!("{program} is not installed"));
    }
    installed
}

/// Returns whether tests may leave `component` out: everywhere but where `CI` is set, and there if `NOT_HERE` names it
/// (a list between commas or spaces).
#[must_use]
pub fn may_be_missing(component: &str) -> bool {
    env::var_os("CI").is_none() || names(&env::var("NOT_HERE").unwrap_or_default(), component)
}

fn names(not_here: &str, component: &str) -> bool {
    not_here.split([',', ' ']).any(|name| name == component)
}

#[cfg(test)]
mod tests {
    use super::names;

    #[test]
    fn not_here_names_whole_components_between_commas_or_spaces() {
        assert!(names("grafana", "grafana"));
        assert!(names("helm,grafana go", "grafana"));
        assert!(!names("grafana-agent", "grafana"));
        assert!(!names("", "grafana"));
    }
}
