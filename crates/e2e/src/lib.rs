//! What is checked against a running cluster: `make smoke`.
//!
//! [`cluster`] is the way in (Kubernetes' API and port-forwards); [`server`], [`prometheus`] and [`jaeger`] ask those
//! through it; [`ui`] runs `make ui` and asks what it prints; [`checks`] has a file for each subject; [`report`] makes the
//! table.

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
