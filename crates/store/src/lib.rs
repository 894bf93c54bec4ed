//! Readings and statistics per sensor, behind one interface with two stores: memory and Valkey.
//!
//! [`Opener::new`] checks the settings once; every runtime then opens a [`Store`] of its own, so that no shared
//! connection ties the cores to one. Batches go in in order of arrival and one [`Outcome`] comes back per reading;
//! a [`Reader`] gives back what is stored, in order of arrival, and with `follow` what is new.

mod batch;
mod types;

pub use batch::Batch;
pub use types::{
    Alert, AlertKind, AlertSettings, Limits, Outcome, Page, Query, Reading, Refusal, Report, Stats,
    StoreError,
};
