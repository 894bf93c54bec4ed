//! Readings and statistics per sensor, behind one interface with two stores: memory and Valkey.
//!
//! [`StoreFactory::new`] validates the settings once; every runtime then opens a [`Store`] of its own, so that no shared
//! connection ties the cores to one. Batches are stored in order of arrival, with one [`Outcome`] per reading. A
//! [`Reader`] returns what is stored in order of arrival, and new readings too with `follow`.
//!
//! Through the meter the store reports `kelvin.sensors`, `kelvin.readings.stored`, `kelvin.readings.evicted{reason}`,
//! `kelvin.sensors.expired` and `kelvin.store.duration{operation}`, each with `kelvin.store` = `memory` or `valkey`.
//! The [`Report`] lists the readings that were rejected or raised an alert, for the caller to count.

mod batch;
mod detector;
mod instruments;
mod memory;
mod page_token;
mod sensor_id;
mod store;
mod summary;
mod types;
mod valkey;
mod windows;

pub use batch::Batch;
pub use sensor_id::SensorId;
pub use store::{Reader, Store, StoreConfig, StoreFactory};
pub use types::{
    Aggregate, AggregateQuery, Alert, AlertKind, AlertSettings, Limits, MAX_WINDOWS, Outcome, Page, Query,
    Reading, RejectReason, Report, Stats, StoreError, Window,
};
pub use valkey::{Acknowledge, Credentials, TlsPem, ValkeySettings};
