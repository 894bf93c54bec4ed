//! The rules of [`kelvin_tidy`], asked of this repository.

use kelvin_tidy::{File, addresses, cycles, links, make_targets, repository, runbooks, test_names, words};

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

#[test]
fn pages_name_targets_that_exist() {
    assert_none(&make_targets::check(&files()));
}

#[test]
fn files_have_no_import_cycle() {
    assert_none(&cycles::check(&files()));
}

#[test]
fn every_alert_has_a_runbook() {
    assert_none(&runbooks::check(&files()));
}

#[test]
fn test_names_begin_with_their_subject() {
    assert_none(&test_names::check(&files()));
}

#[test]
fn addresses_have_one_owner() {
    assert_none(&addresses::check(&files()));
}
