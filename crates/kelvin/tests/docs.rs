//! The pages in `docs/` and CHANGELOG.md agree with the code.

use std::{
    collections::BTreeSet,
    env, fs,
    path::{Path, PathBuf},
};

use kelvin_app::Settings as _;

/// `UPDATE=1` rewrites the tables.
#[test]
fn configuration_page_lists_current_settings() {
    let path = repository().join("docs/configuration.md");
    let before = fs::read_to_string(&path).unwrap();
    let after = with_table(&before, "kelvin-server", &kelvin_server::Config::markdown());
    let after = with_table(&after, "kelvin-client", &kelvin_client::Config::markdown());
    if env::var_os("UPDATE").is_some() {
        fs::write(&path, &after).unwrap();
    }
    assert!(
        before == after || env::var_os("UPDATE").is_some(),
        "docs/configuration.md is out of date; run UPDATE=1 cargo test -p kelvin --test docs"
    );
}

/// The text with `table` between the marks of `program`.
fn with_table(text: &str, program: &str, table: &str) -> String {
    let mark = format!("<!-- settings of {program}:");
    let start = text.find(&mark).unwrap_or_else(|| panic!("docs/configuration.md has no mark {mark:?}"));
    let start = start + text[start..].find("-->\n").unwrap() + 4;
    let end = start + text[start..].find("<!-- end -->").unwrap();
    format!("{}\n{}\n\n{}", &text[..start], table.trim(), &text[end..])
}

#[test]
fn observability_page_lists_every_own_metric() {
    let page = fs::read_to_string(repository().join("docs/observability.md")).unwrap();
    let mut names = Vec::new();
    for of in ["client", "server", "store", "telemetry", "credentials"] {
        collect_names(&repository().join("crates").join(of).join("src"), &mut names);
    }
    assert!(names.len() > 20, "{names:?}");
    names.retain(|name| !page.contains(&format!("`{name}`")));
    assert_eq!(names, [""; 0], "missing in docs/observability.md");
}

/// The strings that begin with `kelvin.` in the sources below `dir`.
fn collect_names(dir: &Path, names: &mut Vec<String>) {
    for entry in fs::read_dir(dir).unwrap() {
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

/// An old name works for one more release, so the code may have renamings of an earlier section too.
#[test]
fn changelog_and_code_have_same_renamed_settings() {
    let changelog = fs::read_to_string(repository().join("CHANGELOG.md")).unwrap();
    let newest =
        changelog.match_indices("\n## [").nth(1).map_or(&changelog[..], |(end, _)| &changelog[..end]);
    let code: BTreeSet<_> =
        [kelvin_server::Config::RENAMED, kelvin_client::Config::RENAMED].concat().into_iter().collect();
    let (listed, newest) = (renamed_settings(&changelog), renamed_settings(newest));
    let unlisted: Vec<_> = code.difference(&listed).collect();
    assert!(unlisted.is_empty(), "renamed in the code, but not in CHANGELOG.md: {unlisted:?}");
    let unknown: Vec<_> = newest.difference(&code).collect();
    assert!(unknown.is_empty(), "renamed in CHANGELOG.md, but not in the code: {unknown:?}");
}

/// The old and new names in the rows of tables whose last column is `setting`.
fn renamed_settings(changelog: &str) -> BTreeSet<(&str, &str)> {
    let rows = changelog.lines().filter_map(|line| line.trim().strip_suffix("| setting |"));
    rows.map(|row| match row.split('`').collect::<Vec<_>>()[..] {
        [_, old, _, new, _] => (old, new),
        _ => panic!("not an old and a new name: {row}"),
    })
    .collect()
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}
