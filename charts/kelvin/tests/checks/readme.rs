//! README's tables are made from the comments in `values.yaml` and from the table of renamed values.

use std::{
    collections::BTreeSet,
    fmt::Write,
    fs,
    sync::{Mutex, PoisonError},
};

use serde_json::Value;

use crate::{helm, snapshot};

#[test]
fn table_of_values_is_current() {
    update("values", &table());
}

#[test]
fn table_of_renamed_values_is_current() {
    let mut table = String::from("| Old name | New name |\n|---|---|\n");
    for renamed in renamed() {
        let (old, new) = (renamed["old"].as_str().expect("a name"), renamed["new"].as_str().expect("a name"));
        writeln!(table, "| `{old}` | `{new}` |").expect("a text takes all");
    }
    update("renamed", &table);
}

/// An old name works for one more version, so the chart may have renamings of an earlier section too.
#[test]
fn changelog_and_chart_have_same_renamed_values() {
    let path = helm::chart().join("../../CHANGELOG.md");
    let changelog = fs::read_to_string(path).expect("the repository has a changelog");
    let newest =
        changelog.match_indices("\n## [").nth(1).map_or(&changelog[..], |(end, _)| &changelog[..end]);
    let name = |renamed: &Value, which: &str| renamed[which].as_str().expect("a name").to_owned();
    let row = |renamed: Value| format!("| `{}` | `{}` |", name(&renamed, "old"), name(&renamed, "new"));
    let chart: BTreeSet<_> = renamed().into_iter().map(row).collect();
    let (listed, newest) = (rows(&changelog), rows(newest));
    let unlisted: Vec<_> = chart.difference(&listed).collect();
    assert!(unlisted.is_empty(), "in templates/_renamed.tpl, but not in CHANGELOG.md: {unlisted:?}");
    let unknown: Vec<_> = newest.difference(&chart).collect();
    assert!(unknown.is_empty(), "in CHANGELOG.md, but not in templates/_renamed.tpl: {unknown:?}");
}

/// The rows of tables whose last column is `chart value`, without that column.
fn rows(changelog: &str) -> BTreeSet<String> {
    changelog
        .lines()
        .filter_map(|line| line.trim().strip_suffix(" chart value |"))
        .map(str::to_owned)
        .collect()
}

/// The guard against two names at once compares with the default.
#[test]
fn renamed_values_name_their_defaults() {
    let yaml = fs::read_to_string(helm::chart().join("values.yaml")).expect("the chart has values");
    let values: Value = serde_saphyr::from_str(&yaml).expect("values.yaml is YAML");
    for renamed in renamed() {
        let pointer = |name: &str| format!("/{}", renamed[name].as_str().expect("a name").replace('.', "/"));
        assert_eq!(values.pointer(&pointer("new")), Some(&renamed["default"]), "{renamed}");
        assert_eq!(values.pointer(&pointer("old")), None, "{renamed}");
    }
}

fn renamed() -> Vec<Value> {
    let template =
        fs::read_to_string(helm::chart().join("templates/_renamed.tpl")).expect("the chart has a table");
    let entries: Vec<_> = template.lines().filter(|line| line.starts_with("- {")).collect();
    serde_saphyr::from_str(&entries.join("\n")).expect("the table is YAML")
}

/// Compares a part of README with what it should be.
fn update(part: &str, text: &str) {
    let (begin, end) = (
        format!("<!-- {part}: made by `make test-chart UPDATE=1` -->\n"),
        format!("<!-- end of {part} -->\n"),
    );
    let path = helm::chart().join("README.md");
    // Two tests may write the file at the same time.
    let _guard = README.lock().unwrap_or_else(PoisonError::into_inner);
    let readme = fs::read_to_string(&path).expect("the chart has a README");
    let (before, rest) = readme.split_once(&begin).expect("README says where the table begins");
    let (_, after) = rest.split_once(&end).expect("README says where the table ends");
    snapshot::compare(&path, &format!("{before}{begin}{text}{end}{after}"));
}

static README: Mutex<()> = Mutex::new(());

fn table() -> String {
    let yaml = fs::read_to_string(helm::chart().join("values.yaml")).expect("the chart has values");
    let values: Value = serde_saphyr::from_str(&yaml).expect("values.yaml is YAML");
    let mut table = String::from("| Value | Default | What it is |\n|---|---|---|\n");
    for (pointer, comment) in comments(&yaml) {
        let default = values.pointer(&pointer).unwrap_or_else(|| panic!("no value at {pointer}"));
        let name = pointer[1..].replace('/', ".");
        writeln!(table, "| `{name}` | `{default}` | {comment} |").expect("a text takes all");
    }
    table
}

/// The comments that begin with `# --`, each with the JSON pointer of the value below it.
fn comments(yaml: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut path: Vec<(usize, &str)> = Vec::new();
    let mut comment = String::new();
    for line in yaml.lines() {
        let content = line.trim_start();
        let indent = line.len() - content.len();
        if let Some(text) = content.strip_prefix("# -- ") {
            text.clone_into(&mut comment);
        } else if let Some(text) = content.strip_prefix("# ") {
            // Goes on with a comment that was begun; otherwise it is for readers of the file alone.
            if !comment.is_empty() {
                comment = format!("{comment} {text}");
            }
        } else if let Some((key, _)) = content.split_once(':')
            && !content.starts_with('-')
        {
            path.retain(|(depth, _)| *depth < indent);
            path.push((indent, key));
            if !comment.is_empty() {
                let keys: Vec<_> = path.iter().map(|(_, key)| *key).collect();
                found.push((format!("/{}", keys.join("/")), std::mem::take(&mut comment)));
            }
        }
    }
    found
}

/// No value is without a word about it.
#[test]
fn every_value_is_explained() {
    let yaml = fs::read_to_string(helm::chart().join("values.yaml")).expect("the chart has values");
    let values: Value = serde_saphyr::from_str(&yaml).expect("values.yaml is YAML");
    let explained: Vec<_> = comments(&yaml).into_iter().map(|(pointer, _)| pointer).collect();
    check("", &values, &explained);
}

fn check(pointer: &str, value: &Value, explained: &[String]) {
    if explained.iter().any(|known| known == pointer) {
        return;
    }
    let map = value.as_object().filter(|map| !map.is_empty());
    for (key, value) in map.unwrap_or_else(|| panic!("{pointer} has no comment that begins with `# --`")) {
        check(&format!("{pointer}/{key}"), value, explained);
    }
}
