//! Objects of Kubernetes, as they are rendered.

use std::collections::BTreeMap;

use serde_json::Value;

/// One object of a rendering.
#[derive(Debug, Clone)]
pub(crate) struct Object(pub(crate) Value);

impl Object {
    /// All objects of a YAML stream.
    pub(crate) fn parse(yaml: &str) -> Vec<Self> {
        let objects: Vec<Value> = serde_saphyr::from_multiple(yaml).unwrap_or_else(|error| panic!("{error}"));
        objects.into_iter().filter(|object| !object.is_null()).map(Self).collect()
    }

    pub(crate) fn kind(&self) -> &str {
        self.text("/kind")
    }

    pub(crate) fn name(&self) -> &str {
        self.text("/metadata/name")
    }

    /// The value at a JSON pointer; null where there is none.
    pub(crate) fn at(&self, pointer: &str) -> &Value {
        self.0.pointer(pointer).unwrap_or(&Value::Null)
    }

    /// The text at a JSON pointer.
    pub(crate) fn text(&self, pointer: &str) -> &str {
        self.at(pointer).as_str().unwrap_or_else(|| panic!("no text at {pointer} of {:#}", self.0))
    }

    /// The pod that a workload makes, or that the object is.
    pub(crate) fn pod(&self) -> Option<Self> {
        match self.kind() {
            "Pod" => Some(self.clone()),
            "Deployment" => Some(Self(self.at("/spec/template").clone())),
            _ => None,
        }
    }

    /// The main container of a pod.
    pub(crate) fn container(&self) -> Self {
        Self(self.at("/spec/containers/0").clone())
    }

    /// The labels of a pod.
    pub(crate) fn labels(&self) -> BTreeMap<&str, &str> {
        texts(self.at("/metadata/labels"))
    }

    /// The variables of a pod's container that are written out.
    pub(crate) fn environment(&self) -> BTreeMap<&str, &str> {
        let variables = self.at("/spec/containers/0/env").as_array().expect("a container has variables");
        variables
            .iter()
            .filter_map(|variable| Some((variable["name"].as_str()?, variable["value"].as_str()?)))
            .collect()
    }
}

/// The one object of a kind with a name.
pub(crate) fn find<'a>(objects: &'a [Object], kind: &str, name: &str) -> &'a Object {
    let found: Vec<_> =
        objects.iter().filter(|object| object.kind() == kind && object.name() == name).collect();
    match found[..] {
        [object] => object,
        _ => panic!("{} objects are a {kind} called {name}", found.len()),
    }
}

/// The pod of a Deployment.
pub(crate) fn pod(objects: &[Object], deployment: &str) -> Object {
    find(objects, "Deployment", deployment).pod().expect("a Deployment has a pod")
}

/// The value of a variable in a Deployment's pods, if it is set.
pub(crate) fn variable(objects: &[Object], deployment: &str, name: &str) -> Option<String> {
    pod(objects, deployment).environment().get(name).map(ToString::to_string)
}

/// All objects of a kind.
pub(crate) fn all<'a>(objects: &'a [Object], kind: &'a str) -> impl Iterator<Item = &'a Object> {
    objects.iter().filter(move |object| object.kind() == kind)
}

/// A JSON object of texts.
pub(crate) fn texts(value: &Value) -> BTreeMap<&str, &str> {
    let Some(map) = value.as_object() else { return BTreeMap::new() };
    map.iter().map(|(key, value)| (key.as_str(), value.as_str().expect("a text"))).collect()
}

/// Whether a label selector with `matchLabels` alone takes these labels.
pub(crate) fn selects(selector: &Value, labels: &BTreeMap<&str, &str>) -> bool {
    let wanted = selector.get("matchLabels").unwrap_or(selector);
    texts(wanted).iter().all(|(key, value)| labels.get(key) == Some(value))
}
