//! What a Tokio runtime is doing.

use opentelemetry::{KeyValue, metrics::Meter};
use tokio::runtime::Handle;

/// Observes how busy a runtime is, under `name`: `kelvin.runtime.busy` is the time its workers have not
/// been idle (a rate of 1 is one core's worth), `kelvin.runtime.tasks` the tasks that have not ended.
pub fn observe_runtime(meter: &Meter, name: impl Into<String>, runtime: &Handle) {
    let attributes = [KeyValue::new("runtime", name.into())];
    let (busy, busy_attributes) = (runtime.metrics(), attributes.clone());
    meter
        .f64_observable_counter("kelvin.runtime.busy")
        .with_unit("s")
        .with_description("Time that the workers of a runtime were not idle")
        .with_callback(move |observer| {
            let workers = 0..busy.num_workers();
            let seconds = workers.map(|worker| busy.worker_total_busy_duration(worker).as_secs_f64()).sum();
            observer.observe(seconds, &busy_attributes);
        })
        .build();
    let tasks = runtime.metrics();
    meter
        .u64_observable_gauge("kelvin.runtime.tasks")
        .with_unit("{task}")
        .with_description("Tasks of a runtime that have not ended")
        .with_callback(move |observer| observer.observe(tasks.num_alive_tasks() as u64, &attributes))
        .build();
}
