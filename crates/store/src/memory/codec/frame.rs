/// Readings that are encoded at a time.
pub(in crate::memory) const FRAME: usize = 16;
