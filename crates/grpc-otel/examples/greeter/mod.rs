//! `greeter.proto`, compiled. The test `generated` keeps it up to date, so that the examples need
//! no build script.

#![allow(dead_code, missing_docs, unreachable_pub, clippy::all, clippy::pedantic, reason = "generated")]

include!("helloworld.rs");

/// For [`grpc_otel::Methods`].
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!("helloworld.bin");
