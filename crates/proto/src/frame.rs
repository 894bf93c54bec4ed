//! Sizes of gRPC's framing over HTTP/2, in bytes.

/// The prefix of every message: a flag that says whether it is compressed, and its length as a big-endian `u32`.
pub const PREFIX: usize = 5;

/// The payload of a DATA frame that, with the 9 bytes of its HTTP/2 header, fills one TLS record of 16 KiB. One byte more
/// would need a second record.
pub const PAYLOAD: usize = 16 * 1024 - 9;
