//! Other implementations of gRPC against the program: grpcio and grpcurl.

mod support;

mod interop {
    mod grpcurl;
    mod python;
}
