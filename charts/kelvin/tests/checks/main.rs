//! What is checked of the Helm chart without a cluster: `make test-chart`, with `UPDATE=1` to accept what changed.

mod alerts;
mod certificates;
mod dashboards;
mod guards;
mod helm;
mod object;
mod outside;
mod places;
mod programs;
mod readme;
mod rendering;
mod schema;
mod scripts;
mod security;
mod snapshot;
mod telemetry;
mod tools;
mod usual;
