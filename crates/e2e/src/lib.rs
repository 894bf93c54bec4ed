//! What is checked against a running cluster: `make smoke`.
//!
//! [`cluster`] is the way in (Kubernetes' API and port-forwards); [`server`], [`prometheus`] and [`jaeger`] ask those
//! through it; [`checks`] has a file for each subject; [`report`] makes the table.

pub mod checks;
pub mod cluster;
pub mod forward;
pub mod jaeger;
pub mod ledger;
pub mod poll;
pub mod prometheus;
pub mod report;
pub mod server;
pub mod task;
