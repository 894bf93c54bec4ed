//! Peers that are part of this program. All use Kelvin's HTTP/2 windows, one current-thread runtime and mimalloc.

pub(crate) mod h2;
mod tls;
pub(crate) mod tonic;

/// Kelvin's windows, so that no peer loses by flow control.
const STREAM_WINDOW: u32 = 65_535;
const CONNECTION_WINDOW: u32 = 192 << 20;
/// Kelvin's bound on what waits for the network per stream.
const SEND_BUFFER: usize = 128 << 10;
