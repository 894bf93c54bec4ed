//! Real servers and channels on loopback, seen through the real SDK.

mod attempts;
mod attributes;
mod calls;
mod cancel;
mod concurrency;
mod context;
mod differential;
mod examples;
mod features;
mod generated;
#[path = "../../examples/greeter/mod.rs"]
mod greeter;
mod observed;
mod off;
mod options;
mod retries;
mod spans;
mod stacks;
mod support;
mod table;
