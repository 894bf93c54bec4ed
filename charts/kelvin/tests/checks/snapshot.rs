//! The default rendering, kept beside the tests: a change of the chart shows in review as what changes in a cluster.

use std::{env, fs, path::Path};

use crate::{helm, object::Object};

#[test]
fn default_rendering_matches_the_snapshot() {
    let Some(mut objects) = helm::render(&[]) else { return };
    objects.sort_by_key(|object| (object.kind().to_owned(), object.name().to_owned()));
    // Dashboards are files of their own.
    objects.retain(|object| object.kind() != "ConfigMap");
    let kept = objects.iter().map(yaml).collect::<Vec<_>>().join("---\n");
    compare(&helm::chart().join("tests/snapshot.yaml"), &kept);
}

fn yaml(object: &Object) -> String {
    serde_saphyr::to_string(&object.0).expect("JSON is YAML")
}

/// Compares a file with what it should hold, or writes it if `UPDATE` is set.
pub(crate) fn compare(path: &Path, text: &str) {
    if env::var("UPDATE").is_ok_and(|update| !update.is_empty()) {
        fs::write(path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        return;
    }
    let kept = fs::read_to_string(path).unwrap_or_default();
    let differs = kept.lines().zip(text.lines()).position(|(kept, new)| kept != new);
    let line = differs.unwrap_or_else(|| kept.lines().count().min(text.lines().count()));
    assert!(
        kept == text,
        "{} is not current, from line {}: it says {:?}, it should say {:?}; `make test-chart UPDATE=1` rewrites it",
        path.display(),
        line + 1,
        kept.lines().nth(line),
        text.lines().nth(line),
    );
}
