//! Each half of the crate builds without the other.

use std::process::Command;

/// What the compiler has to say of the library with these features alone.
fn check(features: &str) -> String {
    let output = Command::new(env!("CARGO"))
        .args(["check", "--quiet", "--lib", "--no-default-features", "--features", features])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn metrics_or_traces_alone_build_without_a_warning() {
    assert_eq!(check("metrics"), "");
    assert_eq!(check("trace"), "");
    assert_eq!(check("metrics,trace,tsc"), "");
    let neither = check("transport");
    assert!(neither.contains("records nothing without one of its features"), "{neither}");
}
