//! The programs accept what the chart sets: every variable is one of theirs, has a valid value, and has an effect.

use std::collections::BTreeSet;

use kelvin_app::Settings;

use crate::{helm, object::Object};

#[test]
fn rendered_settings_are_accepted() {
    for values in helm::ci_values() {
        let Some(objects) = helm::render(&["--values", values.to_str().expect("a plain path")]) else {
            return;
        };
        for pod in objects.iter().filter_map(Object::pod) {
            match pod.text("/spec/containers/0/name") {
                "server" => read::<kelvin_server::Config>(&pod),
                "client" => read::<kelvin_client::Config>(&pod),
                other => panic!("there is no program for a container called {other}"),
            }
        }
    }
}

fn read<S: Settings>(pod: &Object) {
    let environment = pod.environment();
    let settings: Vec<_> = environment.into_iter().filter(|(name, _)| name.starts_with("KELVIN_")).collect();
    let known: BTreeSet<_> = S::SETTINGS.iter().map(|setting| setting.variable).collect();
    let unknown: Vec<_> = settings.iter().filter(|(name, _)| !known.contains(name)).collect();
    assert!(unknown.is_empty(), "no program knows {unknown:?}");
    match S::read(settings) {
        Ok((_, warnings)) => assert!(warnings.is_empty(), "{warnings:?}"),
        Err(error) => panic!("{error}"),
    }
}
