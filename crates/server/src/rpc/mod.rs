//! The calls of `SensorService`, one file each, and what stands around them.

mod aggregate_sensor_readings;
mod auth;
mod core;
mod get_sensor_readings;
mod ingest;
mod request_message;
mod send_single_reading;
mod sensor_chat;
mod sensors;
mod service;
mod stream_sensor_readings;
mod stream_tally;

pub(crate) use auth::{Authenticate, Authenticator, ConnectionAuth};
pub(crate) use core::{AuxiliaryService, Core};
pub(crate) use service::Rpc;
