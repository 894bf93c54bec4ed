//! The API of Kelvin: messages, client and server stubs, the descriptor set for reflection, methods and call types.
//!
//! The source is `proto/sensor.proto`; units and meanings are documented there.

mod call_type;
pub mod frame;
mod method;

pub use call_type::{CallType, UnknownCallType};
pub use generated::*;
pub use method::Method;

#[allow(missing_docs, clippy::all, clippy::pedantic, reason = "generated")]
mod generated {
    tonic::include_proto!("_");
}

/// The encoded `FileDescriptorSet` of `sensor.proto`.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/sensor.bin"));
