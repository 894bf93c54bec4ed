//! The contract of Kelvin: messages, client and server stubs, and the descriptor set for reflection.
//!
//! The source is `proto/sensor.proto`; units and meanings are documented there.

#![allow(missing_docs, clippy::all, clippy::pedantic, reason = "generated")]

tonic::include_proto!("_");

/// The encoded `FileDescriptorSet` of `sensor.proto`.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/sensor.bin"));
