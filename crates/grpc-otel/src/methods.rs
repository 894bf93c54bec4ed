//! The methods a server knows.

use std::{collections::BTreeMap, fmt, sync::Arc};

type Filter = Arc<dyn Fn(&str) -> bool + Send + Sync>;

/// The methods a server serves.
///
/// Clients may ask for anything; only methods in this set are named in telemetry, all others are
/// `other`, so that a client cannot fill the memory of the server and its backends with names.
#[derive(Clone, Default)]
pub struct Methods {
    /// By name, whether the response may be a stream.
    pub(crate) names: BTreeMap<String, bool>,
    pub(crate) unregistered: Option<Filter>,
}

impl Methods {
    /// Creates an empty set.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a method, as `package.Service/Method`.
    #[must_use]
    pub fn and_method(mut self, name: impl Into<String>) -> Self {
        self.names.insert(name.into(), true);
        self
    }

    /// Names unregistered methods too, if `accept` returns true for their `package.Service/Method`.
    ///
    /// `accept` must bound what it accepts. It is the counterpart of `SetGenericMethodAttributeFilter` in A66.
    #[must_use]
    pub fn and_unregistered(mut self, accept: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        self.unregistered = Some(Arc::new(accept));
        self
    }
}

impl<S: Into<String>> FromIterator<S> for Methods {
    /// Collects methods given as `package.Service/Method`.
    fn from_iter<I: IntoIterator<Item = S>>(names: I) -> Self {
        Self { names: names.into_iter().map(|name| (name.into(), true)).collect(), unregistered: None }
    }
}

impl fmt::Debug for Methods {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names.keys()).finish()
    }
}
