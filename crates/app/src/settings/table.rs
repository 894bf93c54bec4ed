//! The settings as text for `--help` and as a table for docs/configuration.md, from the one declaration.

use std::fmt::Write;

use super::Setting;

/// Returns a paragraph for each variable: name and default on a line, then what it means.
#[must_use]
pub fn help(settings: &[Setting]) -> String {
    let mut text = String::new();
    for Setting { variable, default, doc } in settings {
        let _ = write!(text, "  {variable}={default}\n        {}\n", plain(doc));
    }
    text
}

/// Returns a Markdown table of variables, defaults and meanings.
#[must_use]
pub fn markdown(settings: &[Setting]) -> String {
    let mut table = String::from("| variable | default | meaning |\n|---|---|---|\n");
    for Setting { variable, default, doc } in settings {
        let default = if default.is_empty() { String::new() } else { format!("`{default}`") };
        let doc = doc.trim().replace('|', "\\|");
        let _ = writeln!(table, "| `{variable}` | {default} | {doc} |");
    }
    table
}

/// Doc comments without their Markdown quotes.
fn plain(doc: &str) -> String {
    doc.trim().replace('`', "")
}
