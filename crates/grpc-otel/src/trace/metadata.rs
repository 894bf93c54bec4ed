//! Metadata that the application chose to have on spans.

use http::{HeaderMap, HeaderName};
use opentelemetry::{Array, Key, KeyValue, StringValue, Value};

use super::addresses::cut;

/// Values of one key that come into an attribute: a caller may send any number.
const MAX_VALUES: usize = 8;

/// Names of metadata, and of the attributes they become.
#[derive(Default)]
pub(crate) struct Metadata(Vec<(HeaderName, Key)>);

impl Metadata {
    /// Creates the list from names; those that no metadata can have are left out.
    pub(crate) fn new<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let attribute = |name: &str| {
            let name: HeaderName = name.parse().ok()?;
            let key = Key::new(format!("rpc.request.metadata.{name}"));
            Some((name, key))
        };
        Self(names.into_iter().filter_map(attribute).collect())
    }

    /// Sets the attributes of what a request has.
    pub(super) fn of_request(&self, headers: &HeaderMap, set: &mut dyn FnMut(KeyValue)) {
        for (name, key) in &self.0 {
            let values =
                headers.get_all(name).iter().take(MAX_VALUES).filter_map(|value| value.to_str().ok());
            let values: Vec<_> = values.map(|value| StringValue::from(cut(value).to_owned())).collect();
            if !values.is_empty() {
                set(KeyValue::new(key.clone(), Value::Array(Array::String(values))));
            }
        }
    }
}
