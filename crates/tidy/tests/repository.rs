//! The rules of [`kelvin_tidy`], asked of this repository.

use kelvin_tidy::{File, cycles, links, repository, runbooks, words};

fn files() -> Vec<File> {
    repository().expect("the repository is readable")
}

#[track_caller]
fn assert_none(found: &[String]) {
    assert!(found.is_empty(), "{} found:\n{}", found.len(), found.join("\n"));
}

#[test]
fn repository_has_no_listed_word() {
    let rules = words::parse(words::LIST).expect("every line of words.txt is `WORD -> INSTEAD`");
    assert_none(&words::check(&rules, &files()));
}

#[test]
fn relative_links_have_targets() {
    assert_none(&links::check(&files()));
}

/// Cycles that are being removed, by the beginning of their description, with the reason why they are still here.
const KNOWN_CYCLES: [(&str, &str); 2] = [
    ("crates/kelvin/src: demo::screen::", "the terminal picture is being rewritten"),
    (
        "crates/server/src: wire::until_ended ",
        "`trailers` moves out of wire::reply with the work on its speed",
    ),
];

#[test]
fn modules_have_no_import_cycle() {
    let known = |cycle: &String| KNOWN_CYCLES.iter().any(|(start, _)| cycle.starts_with(start));
    let cycles: Vec<_> = cycles::check(&files()).into_iter().filter(|cycle| !known(cycle)).collect();
    assert_none(&cycles);
}

#[test]
fn every_alert_has_a_runbook() {
    assert_none(&runbooks::check(&files()));
}
