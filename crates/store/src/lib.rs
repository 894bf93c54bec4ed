//! Readings and statistics per sensor, behind one interface with two stores: memory and Valkey.
//!
//! [`Opener::new`] checks the settings once; every runtime then opens a [`Store`] of its own, so that no shared
//! connection ties the cores to one. Batches go in in order of arrival and one [`Outcome`] comes back per reading;
//! a [`Reader`] gives back what is stored, in order of arrival, and with `follow` what is new; a [`Watch`] gives the
//! same with sequence numbers, from one of them on.
//!
//! Through the meter the store reports `kelvin.sensors`, `kelvin.readings.stored`, `kelvin.readings.evicted{reason}`,
//! `kelvin.sensors.expired` and `kelvin.store.duration{operation}`, each with `kelvin.store` = `memory` or `valkey`.
//! What was accepted, refused or raised an alert is in the [`Report`], for the caller to count.

mod batch;
mod detector;
mod instruments;
mod memory;
mod page_token;
mod store;
mod summary;
mod types;
mod valkey;
mod windows;

pub use batch::Batch;
pub use store::{Kind, Opener, Reader, Store, Watch};
pub use types::{
    Aggregate, AggregateQuery, Alert, AlertKind, AlertSettings, Limits, MAX_WINDOWS, Outcome, Page, Query,
    Reading, Refusal, Report, Stats, StoreError, Window,
};
pub use valkey::{Acknowledge, Credentials, TlsPem, ValkeySettings};
