//! The sensor server: `SensorService` over TLS, with health, reflection, metrics and traces.
//!
//! [`Config`] says how, [`Server::build`] checks all of it and binds, [`Server::run`] serves until it is asked to shut
//! down and then drains. Each core runs a current-thread runtime with its own listener, its own connections and its
//! own handle on the store. The bodies of the calls are read and written many messages at a time (`wire`).

#![deny(clippy::print_stdout, clippy::print_stderr)] // they panic on closed pipes and full disks

mod accept;
mod bounded_tls;
mod builtin_services;
mod caller;
mod config;
mod connections;
mod end_reason;
mod error;
mod files;
#[cfg(fuzzing)]
pub mod fuzz;
pub mod healthcheck;
mod lifetime;
mod listen;
mod log_rate_limiter;
mod metrics;
mod rpc;
mod sensor_metrics;
mod server;
mod status;
mod validate;
mod valkey;
mod wire;
mod worker;

pub use config::{Config, Mtls, StoreKind};
pub use error::ServerError;
pub use kelvin_store::Acknowledge;
pub use server::Server;
