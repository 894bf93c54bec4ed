//! The API of Kelvin: messages, client and server stubs, the descriptor set for reflection, methods and call types.
//!
//! The source is `proto/sensor.proto`; units and meanings are documented there.

mod call_type;
mod deframer;
pub mod frame;
mod method;

pub use call_type::{CallType, UnknownCallType};
pub use deframer::{Deframer, FrameError};
pub use generated::*;
pub use method::Method;

#[allow(missing_docs, clippy::all, clippy::pedantic, reason = "generated")]
mod generated {
    tonic::include_proto!("_");
}

/// The server of `SensorService` reduced to `GetSensorStats` and `ListSensors`, for a server that reads and writes the other
/// methods itself.
#[allow(missing_docs, clippy::all, clippy::pedantic, reason = "generated")]
pub mod lookups {
    include!(concat!(env!("OUT_DIR"), "/lookups/_.rs"));
}

/// The encoded `FileDescriptorSet` of `sensor.proto`.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/sensor.bin"));
