//! The error type of services.

/// Any error a service may end with.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
