//! The methods in a `FileDescriptorSet`.

use std::fmt;

use prost::Message as _;
use prost_types::FileDescriptorSet;

use crate::methods::Methods;

impl Methods {
    /// Reads all methods of an encoded `FileDescriptorSet`, as tonic-prost-build writes it for reflection.
    ///
    /// # Errors
    ///
    /// If `encoded` is not a `FileDescriptorSet`.
    pub fn from_descriptor_set(encoded: &[u8]) -> Result<Self, DescriptorError> {
        Self::new().and_descriptor_set(encoded)
    }

    /// Adds the methods of one more `FileDescriptorSet`, such as that of the health service.
    ///
    /// # Errors
    ///
    /// If `encoded` is not a `FileDescriptorSet`.
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
}

/// What was given is not an encoded `FileDescriptorSet`.
#[derive(Debug)]
pub struct DescriptorError(prost::DecodeError);

impl fmt::Display for DescriptorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not an encoded FileDescriptorSet; pass the one that tonic-prost-build writes")
    }
}

impl std::error::Error for DescriptorError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}
