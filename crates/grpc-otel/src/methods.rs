//! The methods a server knows.

use std::{collections::BTreeMap, fmt, sync::Arc};

use prost::Message as _;
use prost_types::FileDescriptorSet;

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
    /// No methods yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// All methods in an encoded `FileDescriptorSet`, as tonic-prost-build writes it for
    /// reflection.
    pub fn from_descriptor_set(encoded: &[u8]) -> Result<Self, DescriptorError> {
        Self::new().and_descriptor_set(encoded)
    }

    /// The methods of one more `FileDescriptorSet`, such as that of the health service.
    pub fn and_descriptor_set(mut self, encoded: &[u8]) -> Result<Self, DescriptorError> {
        for file in FileDescriptorSet::decode(encoded).map_err(DescriptorError)?.file {
            let package = file.package.filter(|package| !package.is_empty());
            for service in file.service {
                for method in &service.method {
                    let dot = if package.is_some() { "." } else { "" };
                    let package = package.as_deref().unwrap_or_default();
                    let name = format!("{package}{dot}{}/{}", service.name(), method.name());
                    self.names.insert(name, method.server_streaming());
                }
            }
        }
        Ok(self)
    }

    /// One more method, as `package.Service/Method`.
    #[must_use]
    pub fn and_method(mut self, name: impl Into<String>) -> Self {
        self.names.insert(name.into(), true);
        self
    }

    /// Names unregistered methods too, if `accept` says so; the counterpart of
    /// `SetGenericMethodAttributeFilter` in A66. It sees `package.Service/Method` and must bound
    /// what it accepts.
    #[must_use]
    pub fn and_unregistered(mut self, accept: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        self.unregistered = Some(Arc::new(accept));
        self
    }
}

impl<S: Into<String>> FromIterator<S> for Methods {
    /// Methods given as `package.Service/Method`.
    fn from_iter<I: IntoIterator<Item = S>>(names: I) -> Self {
        Self { names: names.into_iter().map(|name| (name.into(), true)).collect(), unregistered: None }
    }
}

impl fmt::Debug for Methods {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names.keys()).finish()
    }
}

/// What was given is not an encoded `FileDescriptorSet`.
#[derive(Debug)]
pub struct DescriptorError(prost::DecodeError);

impl fmt::Display for DescriptorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not an encoded FileDescriptorSet: give the one tonic-prost-build writes")
    }
}

impl std::error::Error for DescriptorError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}
