//! Another implementation of gRPC against the program: grpcio. `crates/kelvin/tests/pages.rs` runs grpcurl.

mod support;

mod interop {
    mod python;
}
