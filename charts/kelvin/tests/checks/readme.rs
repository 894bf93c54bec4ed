//! README's table of values is made from the comments in `values.yaml`.

use std::{fmt::Write, fs};

use serde_json::Value;

use crate::{helm, snapshot};

const BEGIN: &str = "<!-- values: made by `make test-chart UPDATE=1` -->\n";
const END: &str = "<!-- end of values -->\n";

#[test]
fn table_of_values_is_current() {
    let path = helm::chart().join("README.md");
    let readme = fs::read_to_string(&path).expect("the chart has a README");
    let (before, rest) = readme.split_once(BEGIN).expect("README says where the table begins");
    let (_, after) = rest.split_once(END).expect("README says where the table ends");
    snapshot::compare(&path, &format!("{before}{BEGIN}{}{END}{after}", table()));
}

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
