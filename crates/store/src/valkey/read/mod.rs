//! Readers ([`reader`]), statistics and pages of sensors ([`list`]).

mod handle;
mod list;
mod reader;

pub(super) use self::handle::ReadHandle;
pub(crate) use self::reader::ValkeyReader;
