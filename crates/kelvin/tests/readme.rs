//! README's tables of settings are what the binaries read. `UPDATE=1` writes them anew.

use std::{env, fs, path::Path};

#[test]
fn tables_of_settings_are_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md");
    let before = fs::read_to_string(&path).unwrap();
    let after = with_table(&before, "kelvin-server", &kelvin_server::Config::markdown());
    let after = with_table(&after, "kelvin-client", &kelvin_client::Config::markdown());
    if env::var_os("UPDATE").is_some() {
        fs::write(&path, &after).unwrap();
    }
    assert!(
        before == after || env::var_os("UPDATE").is_some(),
        "README.md lags behind the settings: UPDATE=1 cargo test -p kelvin --test readme"
    );
}

/// The text with `table` between the marks of `program`.
fn with_table(text: &str, program: &str, table: &str) -> String {
    let mark = format!("<!-- settings of {program}:");
    let start = text.find(&mark).unwrap_or_else(|| panic!("README.md has no mark {mark:?}"));
    let start = start + text[start..].find("-->\n").unwrap() + 4;
    let end = start + text[start..].find("<!-- end -->").unwrap();
    format!("{}\n{}\n\n{}", &text[..start], table.trim(), &text[end..])
}
