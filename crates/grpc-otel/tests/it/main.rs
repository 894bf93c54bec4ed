//! Real servers and channels on loopback, seen through the real SDK.

mod calls;
mod cancel;
mod concurrency;
mod context;
mod generated;
#[path = "../../examples/greeter/mod.rs"]
mod greeter;
mod hello;
mod observed;
mod retries;
mod spans;
mod support;
mod table;
