//! Four kinds of sensor, one for each gRPC call type.

pub mod load;
