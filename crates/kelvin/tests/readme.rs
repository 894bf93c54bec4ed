//! What README lists is what there is.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

/// `UPDATE=1` writes the tables anew.
#[test]
fn tables_of_settings_are_current() {
    let path = repository().join("README.md");
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

#[test]
fn every_metric_and_attribute_of_our_own_is_named() {
    let readme = fs::read_to_string(repository().join("README.md")).unwrap();
    let mut names = Vec::new();
    for of in ["client", "server", "store", "telemetry", "tls"] {
        collect_names(&repository().join("crates").join(of).join("src"), &mut names);
    }
    assert!(names.len() > 20, "{names:?}");
    names.retain(|name| !readme.contains(&format!("`{name}`")));
    assert_eq!(names, [""; 0], "not in README.md");
}

/// The strings that begin with `kelvin.` in the sources below `folder`.
fn collect_names(folder: &Path, names: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect_names(&path, names);
            continue;
        }
        let text = fs::read_to_string(path).unwrap();
        let strings = text.split("\"kelvin.").skip(1).filter_map(|rest| rest.split('"').next());
        names.extend(strings.map(|name| format!("kelvin.{name}")));
    }
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}
