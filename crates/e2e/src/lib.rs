//! End-to-end checks against a running cluster: `make smoke`.
//!
//! [`cluster`] gives access through the Kubernetes API and port-forwards. [`server`], [`prometheus`] and [`jaeger`] use it
//! to call those services. [`ui`] runs `make ui` and sends requests to the addresses that it prints. [`checks`] has one
//! file per subject, and [`report`] prints the table of results.

pub mod checks;
pub mod cluster;
pub mod collector;
pub mod forward;
pub mod jaeger;
pub mod ledger;
pub mod poll;
pub mod prometheus;
pub mod report;
pub mod server;
pub mod task;
pub mod ui;
