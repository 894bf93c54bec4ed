use std::thread;

use crate::Telemetry;

impl Telemetry {
    /// Exports the metrics as they stand, without waiting for it. Called once the instruments are there: counters at 0 are
    /// known before they grow, or whoever computes a rate would not see the first failures.
    pub fn export_first_metrics(&self) {
        let provider = self.meter_provider();
        // Not a task: a runtime that ends would wait for one that blocks.
        thread::spawn(move || {
            if let Err(error) = provider.force_flush() {
                tracing::debug!(%error, "cannot export metrics at startup; retrying at the next interval");
            }
        });
    }
}
