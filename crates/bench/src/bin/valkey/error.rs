//! Whatever ends a run.

use std::error::Error;

pub(crate) type Failure = Box<dyn Error>;
pub(crate) type Result<T> = std::result::Result<T, Failure>;
