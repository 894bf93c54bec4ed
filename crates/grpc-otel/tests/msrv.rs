//! The Rust version in Cargo.toml is honest: no dependency of a user of this crate asks for a newer one.
//!
//! Only the toolchain of this repository is there to compile with; that the crate's own code needs nothing newer is
//! checked by clippy's `incompatible_msrv`.

use std::{collections::BTreeMap, process::Command};

use serde_json::Value;

#[test]
fn no_dependency_needs_a_newer_rust() {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--all-features"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let list = |value: &Value| value.as_array().unwrap().clone();
    let packages: BTreeMap<_, _> =
        list(&metadata["packages"]).into_iter().map(|package| (text(&package["id"]), package)).collect();
    let nodes: BTreeMap<_, _> =
        list(&metadata["resolve"]["nodes"]).into_iter().map(|node| (text(&node["id"]), node)).collect();

    let root = packages.values().find(|package| package["name"] == env!("CARGO_PKG_NAME")).unwrap();
    let ours = version(root).unwrap();
    let mut waiting = vec![text(&root["id"])];
    let mut seen = std::collections::BTreeSet::new();
    while let Some(id) = waiting.pop() {
        assert!(version(&packages[&id]) <= Some(ours), "{id} needs {:?}", version(&packages[&id]));
        for dependency in list(&nodes[&id]["deps"]) {
            let needed = list(&dependency["dep_kinds"]).iter().any(|kind| kind["kind"] != "dev");
            if needed && seen.insert(text(&dependency["pkg"])) {
                waiting.push(text(&dependency["pkg"]));
            }
        }
    }
    assert!(seen.len() > 20, "only {} dependencies found", seen.len());
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

/// Major and minor Rust version a package asks for.
fn version(package: &Value) -> Option<(u32, u32)> {
    let mut parts = package["rust_version"].as_str()?.split('.').map(|part| part.parse().unwrap());
    Some((parts.next()?, parts.next()?))
}
